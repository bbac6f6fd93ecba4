//! The pages of `--admin`: where they are, and that their clients cost no echo.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parrot_testkit::client::{connect, echo, reset};
use parrot_testkit::descriptors::raise_limit;
use parrot_testkit::http::{MISDEEDS, get, request};
use parrot_testkit::program::run;

use crate::support::{LOOPBACK, bare_parrot, parrot, scratch, skip, start};

/// Sets a flag when it is dropped, also by a panic, so that no thread of a scope runs on.
pub struct SetAtEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A number that the server has in `/proc`.
#[cfg(target_os = "linux")]
fn status(parrot: &parrot_testkit::parrot::Parrot, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", parrot.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn the_ready_file_names_the_pages() {
    let path = scratch("ready-admin.json");
    let parrot = start(&["--admin", "localhost:0", "--ready-file", path.to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let pages = parrot.pages().unwrap();
    assert_eq!(json["admin"]["address"], pages.to_string());
    assert_eq!(json["admin"]["port"], pages.port());
    assert_eq!(get(pages, "/readyz").unwrap().status, 200);
    let statistics: serde_json::Value = serde_json::from_str(&get(pages, "/statistics").unwrap().body).unwrap();
    assert_eq!(statistics["server"]["pid"], parrot.pid().as_raw_nonzero().get());
    assert_eq!(statistics["settings"]["log"], "off");
    assert!(statistics["log"].is_null());
    parrot.stop().unwrap();
}

#[test]
fn pages_on_a_unix_socket_leave_no_file() {
    let path = scratch("admin.sock");
    let place = format!("unix:{}", path.display());
    let parrot = start(&["--admin", &place, "--unix-mode", "0600"]);
    let stream = UnixStream::connect(&path).unwrap();
    let response = request(stream, "GET /healthz HTTP/1.1\r\nHost: parrot\r\n\r\n").unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    parrot.stop().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_taken_port_for_the_pages_ends_the_start() {
    let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let place = taken.local_addr().unwrap().to_string();
    let ended = run(parrot(&["--log", "off"]).args(["--admin", &place]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in [&format!("cannot listen on {place}"), "is taken"] {
        assert!(ended.stderr.contains(words), "no {words:?} in: {}", ended.stderr);
    }
}

#[test]
fn the_pages_cannot_have_a_port_of_the_echo() {
    for (arguments, both) in [
        (&["--port", "7001", "--admin", "127.0.0.1:7001"][..], "--port 7001 and --admin 127.0.0.1:7001 both listen on"),
        (&["--listen", "unix:a", "--admin", "unix:./a"], "--listen unix:a and --admin unix:./a both listen on"),
        (&["--ready-file", "a", "--admin", "unix:a"], "--ready-file and --admin unix:a are the same file"),
    ] {
        let ended = run(bare_parrot(arguments).args(["--log", "off"]));
        assert!(ended.code == Some(2) && ended.stderr.contains(both), "{arguments:?}: {ended:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_pages_have_a_thread_only_when_asked_for() {
    let (without, with) = (start(&[]), start(&["--admin", "127.0.0.1:0"]));
    assert_eq!((status(&without, "Threads"), status(&with, "Threads")), (1, 2));
    without.stop().unwrap();
    with.stop().unwrap();
}

#[test]
fn a_thousand_bad_clients_of_the_pages_cost_no_echo() {
    const CLIENTS: usize = 1000;
    if raise_limit() < CLIENTS as u64 + 200 {
        return skip("the limit of descriptors is too low for 1,000 clients");
    }
    let parrot = start(&["--admin", "127.0.0.1:0"]);
    let (address, pages) = (parrot.address(), parrot.pages().unwrap());
    let over = AtomicBool::new(false);
    let echoes = thread::scope(|scope| {
        let echoing = scope.spawn(|| {
            let stream = connect(address);
            let mut echoes = 0_u64;
            while !over.load(Ordering::Relaxed) {
                echo(&stream, &echoes.to_ne_bytes());
                echoes += 1;
                // Other tests run beside this one.
                thread::sleep(Duration::from_millis(1));
            }
            echoes
        });
        let end = SetAtEnd(&over);
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let mut client = connect(pages);
            // The pages may have closed it by then.
            let _ = MISDEEDS[number * MISDEEDS.len() / CLIENTS](&mut client);
            match number % 50 {
                0 => reset(client).unwrap(),
                _ => clients.push(client),
            }
            if number % 100 == 99 {
                // A good client is served among the bad ones, and there are not many of them inside.
                assert_eq!(get(pages, "/healthz").unwrap().status, 200);
                #[cfg(target_os = "linux")]
                {
                    let directory = format!("/proc/{}/fd", parrot.pid().as_raw_nonzero());
                    let open = fs::read_dir(directory).unwrap().count();
                    assert!(open < 100, "{open} descriptors are open");
                }
            }
        }
        // None of them is served for ever.
        for mut client in clients {
            let _ = client.read_to_end(&mut Vec::new());
        }
        drop(end);
        echoing.join().unwrap()
    });
    let metrics = get(pages, "/metrics").unwrap().body;
    assert!(metrics.contains(&format!("\nparrot_messages_total {echoes}\n")), "{echoes} echoes in:\n{metrics}");
    assert!(echoes > 0, "no echo beside them");
    parrot.stop().unwrap();
}
