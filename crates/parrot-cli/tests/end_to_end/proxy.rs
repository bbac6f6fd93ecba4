//! PROXY protocol headers from the load balancers that people use. Without them the tests say so and pass.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use parrot_testkit::client::{self, echo, expect_end};
use parrot_testkit::parrot::{Parrot, isolated};
use parrot_testkit::process::Process;
use parrot_testkit::wait_for;

use crate::support::{parrot, scratch, skip, spawn};

/// A server that greets each client with the address that it sees.
fn start(arguments: &[&str]) -> Parrot {
    spawn(parrot(&["--log", "off", "--proxy-protocol", "--greeting", "{peer}"]).args(arguments))
}

/// A load balancer between a client and a server, with a configuration in a file.
struct Balancer {
    _process: Process,
    address: SocketAddr,
    configuration: PathBuf,
}

impl Balancer {
    /// Starts a program whose configuration contains `LISTEN` for its own address. Another process may take the port that
    /// was free, so several are tried. `None` and a note without the program.
    fn start(program: &str, configuration: &str, arguments: impl Fn(&mut Command, &Path)) -> Option<Balancer> {
        let path = find(program)?;
        for _ in 0..5 {
            let address = quiet_address();
            let file = scratch(program);
            fs::write(&file, configuration.replace("LISTEN", &address.to_string())).unwrap();
            let mut command = isolated(Command::new(&path));
            arguments(&mut command, &file);
            let mut process = Process::spawn(&mut command).unwrap();
            let up = wait_for("the load balancer listens", || {
                Ok(match process.ended()? {
                    Some(_) => Some(false),
                    None => TcpStream::connect(address).is_ok().then_some(true),
                })
            });
            if up.unwrap() {
                return Some(Balancer { _process: process, address, configuration: file });
            }
            let printed = process.stderr();
            assert!(printed.to_lowercase().contains("in use") || printed.contains("bind"), "{program}: {printed}");
        }
        panic!("{program} has found no free port");
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.configuration);
    }
}

/// An address that no other test gets. Ports that the system gives out begin at 32768 on Linux
/// (net.ipv4.ip_local_port_range), so that a server of another test does not take this one.
fn quiet_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let number = std::process::id() as u16 ^ NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 16_384 + number % 16_384));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// The program of this name, which may be in a directory for administrators.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = directories.map(|directory| directory.join(program)).find(|path| path.exists());
    if found.is_none() {
        skip(&format!("{program} is not installed"));
    }
    found
}

fn haproxy(server: &Parrot, options: &str) -> Option<Balancer> {
    let server = server.address();
    let configuration = format!(
        "global\n  maxconn 1000\n  noreuseport\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend in\n  bind LISTEN\n  default_backend out\nbackend out\n  server parrot {server} {options}\n"
    );
    Balancer::start("haproxy", &configuration, |command, file| {
        command.arg("-db").arg("-f").arg(file);
    })
}

/// Expects that the server greets a client behind a load balancer with the client's own address, and echoes.
fn expect_own_address(balancer: &Balancer) {
    let mut client = client::connect(balancer.address);
    let expected = format!("{}\n", client.local_addr().unwrap());
    let mut greeting = vec![0; expected.len()];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(String::from_utf8_lossy(&greeting), expected);
    echo(&client, b"squawk");
    client.shutdown(std::net::Shutdown::Write).unwrap();
    expect_end(&client);
}

#[test]
fn haproxy_reports_the_client_in_both_versions() {
    for options in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let parrot = start(&[]);
        let Some(balancer) = haproxy(&parrot, options) else { return };
        for _ in 0..10 {
            expect_own_address(&balancer);
        }
        let summary = parrot.stop().unwrap();
        assert!(!summary.contains("header"), "{options}: {summary}");
    }
}

#[test]
fn health_checks_of_haproxy_are_accepted() {
    for options in ["send-proxy", "send-proxy-v2"] {
        let parrot = start(&[]);
        let check = format!("{options} check check-send-proxy inter 20ms");
        let Some(balancer) = haproxy(&parrot, &check) else { return };
        wait_for("ten health checks", || {
            let statistics = parrot.handle().statistics()?;
            Ok((parrot_testkit::parrot::number(&statistics, "accepted")? > 10).then_some(()))
        })
        .unwrap();
        expect_own_address(&balancer);
        drop(balancer);
        let summary = parrot.stop().unwrap();
        assert!(!summary.contains("header"), "{options}: {summary}");
    }
}

#[test]
fn nginx_reports_the_client() {
    let parrot = start(&[]);
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let module = if Path::new(module).exists() { format!("load_module {module};\n") } else { String::new() };
    let prefix = scratch("nginx-prefix");
    fs::create_dir_all(&prefix).unwrap();
    let configuration = format!(
        "{module}daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\nstream {{\n  server {{\n    \
         listen LISTEN;\n    proxy_pass {1};\n    proxy_protocol on;\n  }}\n}}\n",
        prefix.display(),
        parrot.address(),
    );
    let balancer = Balancer::start("nginx", &configuration, |command, file| {
        command.arg("-p").arg(&prefix).arg("-e").arg("stderr").arg("-c").arg(file);
    });
    if let Some(balancer) = balancer {
        for _ in 0..10 {
            expect_own_address(&balancer);
        }
        drop(balancer);
        let summary = parrot.stop().unwrap();
        assert!(!summary.contains("header"), "{summary}");
    }
    fs::remove_dir_all(&prefix).unwrap();
}

#[test]
fn the_log_shows_the_client_of_the_header() {
    let log = scratch("proxied-log");
    let parrot = spawn(parrot(&["--proxy-protocol", "--log-file"]).arg(&log));
    let mut client = parrot.connect();
    client.write_all(b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 1512\r\n").unwrap();
    echo(&client, b"squawk");
    drop(client);
    parrot.stop().unwrap();
    let line = fs::read_to_string(&log).unwrap();
    assert!(line.starts_with("[2001:db8::7]:50000 - - [") && line.lines().count() == 1, "{line}");
    fs::remove_file(&log).unwrap();
}

#[test]
fn only_the_listener_that_asks_for_it_expects_a_header() {
    let mut command = crate::support::bare_parrot(&["--log", "off"]);
    let parrot = spawn(command.args(["--listen", "tcp:127.0.0.1:0,proxy", "--listen", "tcp:127.0.0.1:0"]));
    let [with, without] = *parrot.addresses() else { panic!("two listeners") };
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 1512\r\n";
    echo(&client::connect(without), header);
    let mut client = client::connect(with);
    client.write_all(header).unwrap();
    echo(&client, b"squawk");
    drop(client);
    parrot.stop().unwrap();
}
