//! The Job in `packaging/kubernetes` without a cluster: every pod is a host of its own, a network namespace that a bridge
//! connects with the others and with the server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs::read_link;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, Scope};
use std::time::Duration;

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use jiff::Timestamp;
use parrot_load::{Failures, Mark, Report};
use parrot_server::{Addresses, Config, Listen, Server};
use parrot_testkit::network::alone;
use parrot_testkit::program::{Ended, run};
use serde_json::Value;

const MANIFEST: &str = include_str!("../../../packaging/kubernetes/load-job.yaml");
/// How the manifest names the server.
const SERVICE: &str = "tcp:parrot:1512";

/// The number in the line of the manifest that begins with this key.
fn number(key: &str) -> usize {
    let line = MANIFEST.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {key}")).parse().unwrap()
}

/// The arguments of the container at `begin`, and then those that make the load a small one.
fn arguments(server: &str, begin: &str) -> Vec<String> {
    assert!(MANIFEST.contains("          command: [/parrot-load]\n"));
    assert!(MANIFEST.contains("            - name: START_AT\n"));
    let lines = MANIFEST.lines().map(str::trim).skip_while(|line| *line != "args:").skip(1);
    let lines = lines.filter(|line| !line.starts_with('#')).map_while(|line| line.strip_prefix("- "));
    let arguments: Vec<String> = lines.map(|line| line.replace("$(START_AT)", begin)).collect();
    assert!(arguments.contains(&SERVICE.to_owned()) && arguments.contains(&format!("--start-at={begin}")));
    let small = ["--rate=400", "--duration=3s", "--warmup=0s"].map(str::to_owned);
    arguments.into_iter().map(|one| if one == SERVICE { server.to_owned() } else { one }).chain(small).collect()
}

fn address(host: usize) -> String {
    format!("10.15.12.{}", host + 1)
}

/// Adds a host to the network `cluster`, which is that of this thread. It works once its sender has sent it a word.
/// `None` if that is not possible here.
fn add<'scope>(
    scope: &'scope Scope<'scope, '_>,
    cluster: &str,
    host: usize,
    work: impl FnOnce(String) + Send + 'scope,
) -> Option<Sender<String>> {
    let (ready, is_ready) = mpsc::channel();
    let (sender, word) = mpsc::channel();
    let commands = [
        format!("ip link add eth0 type veth peer name host{host} netns {cluster}"),
        format!("ip address add {}/24 dev eth0 && ip link set eth0 up", address(host)),
    ];
    scope.spawn(move || {
        alone(&commands.each_ref().map(String::as_str), move || {
            ready.send(()).unwrap();
            if let Ok(word) = word.recv() {
                work(word);
            }
        });
    });
    is_ready.recv().ok()?;
    let arguments = ["link", "set", &format!("host{host}"), "up", "master", "cluster"];
    assert!(Command::new("ip").args(arguments).status().unwrap().success());
    Some(sender)
}

fn merged(reports: &[Report]) -> Report {
    let texts: Vec<String> = reports.iter().map(|report| serde_json::to_string_pretty(report).unwrap()).collect();
    // What `kubectl logs` prints of several pods.
    let directory = tempfile::tempdir().unwrap();
    let logs = directory.path().join("logs");
    std::fs::write(&logs, texts.join("\n")).unwrap();
    let logs = std::fs::File::open(&logs).unwrap();
    let mut merge = Command::new(env!("CARGO_BIN_EXE_parrot-load"));
    let Ended { code, stdout, stderr } = run(merge.args(["merge", "-", "--json"]).stdin(Stdio::from(logs)));
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// The latencies of a report, as a library of HdrHistogram reads them.
fn histogram(report: &Report) -> Histogram<u64> {
    let text = serde_json::to_value(&report.histograms.latency).unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap();
    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap()
}

#[test]
fn pods_of_the_job_add_up_to_what_the_server_counted() {
    let pods = number("completions");
    assert!(pods > 1 && pods == number("parallelism"), "all pods run at the same time");
    alone(&["ip link add cluster type bridge", "ip link set cluster up"], || {
        let cluster = format!("/proc/{}/ns/net", read_link("/proc/thread-self").unwrap().display());
        let (served, counts) = mpsc::channel();
        let (printed, ends) = mpsc::channel();
        let (over, is_over) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let serve = move |_| {
                let listen = vec![Listen::tcp(Addresses::everywhere(1512))];
                let server = Server::bind(Config { listen, ..Config::default() }).unwrap().spawn().unwrap();
                let handle = server.handle().clone();
                served.send(handle.statistics()).unwrap();
                let _ = is_over.recv();
                server.drain().unwrap();
                served.send(handle.statistics()).unwrap();
            };
            let Some(server) = add(scope, &cluster, 0, serve) else { return };
            let mut hosts = Vec::new();
            for pod in 1..=pods {
                let printed = printed.clone();
                let load = move |begin: String| {
                    let mut load = Command::new(env!("CARGO_BIN_EXE_parrot-load"));
                    printed.send(run(load.args(arguments(&format!("tcp:{}:1512", address(0)), &begin)))).unwrap();
                };
                let Some(host) = add(scope, &cluster, pod, load) else { return };
                hosts.push(host);
            }
            server.send(String::new()).unwrap();
            assert_eq!(counts.recv().unwrap().accepted, 0, "the server listens");
            // As `date` prints it, between two and three seconds from now.
            let begin = (Timestamp::now() + Duration::from_secs(3)).strftime("%FT%TZ").to_string();
            for host in hosts {
                host.send(begin.clone()).unwrap();
            }
            let reports: Vec<Report> = (0..pods)
                .map(|_| {
                    let Ended { code, stdout, stderr } = ends.recv().unwrap();
                    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
                    serde_json::from_str(&stdout).unwrap()
                })
                .collect();
            over.send(()).unwrap();
            let counted = counts.recv().unwrap();

            let begin: Timestamp = begin.parse().unwrap();
            for report in &reports {
                let late = report.opened_at - begin.as_duration().as_secs_f64();
                assert!(late >= 0.0, "{late} s after the time\n{report}");
                assert_eq!((report.latency.count, report.failures), (1200, Failures::default()), "{report}");
            }
            let sum = merged(&reports);
            assert_eq!((sum.reports, sum.latency.count), (pods as u64, 1200 * pods as u64), "{sum}");
            assert_eq!((counted.messages, counted.bytes_in), (sum.latency.count, 12 * sum.latency.count), "{sum}");
            assert_eq!((counted.accepted, sum.connecting.opened), (50 * pods as u64, 50 * pods), "{sum}");
            // A busy machine can keep a pod from beginning in time. Then the sum has to say so.
            let last_opened = reports.iter().map(|report| report.opened_at).fold(0.0, f64::max);
            let first_closed = reports.iter().map(|report| report.opened_at + report.window).fold(f64::MAX, f64::min);
            let longest = reports.iter().map(|report| report.window).fold(0.0, f64::max);
            let apart = first_closed - last_opened < longest * 0.9;
            assert_eq!(sum.marks.contains(&Mark::WindowsApart), apart, "{sum}");

            let mut all = histogram(&reports[0]);
            reports[1..].iter().for_each(|report| all.add(histogram(report)).unwrap());
            let latency = sum.latency;
            for (quantile, figure) in
                [(0.5, latency.p50), (0.9, latency.p90), (0.99, latency.p99), (0.999, latency.p999)]
            {
                assert_eq!(figure, Some(all.value_at_quantile(quantile) as f64 / 1e3), "{quantile}: {sum}");
            }
            println!("{sum}");
        });
    });
}

#[test]
fn a_pod_that_nobody_gave_a_time_refuses_to_begin() {
    let value = MANIFEST.lines().skip_while(|line| line.trim() != "- name: START_AT").nth(1).unwrap();
    let value: Value = serde_json::from_str(value.trim().strip_prefix("value: ").unwrap()).unwrap();
    let mut load = Command::new(env!("CARGO_BIN_EXE_parrot-load"));
    let Ended { code, stderr, .. } = run(load.args(arguments("1512", value.as_str().unwrap())));
    assert!(code == Some(2) && stderr.contains("has passed"), "{stderr}");
}
