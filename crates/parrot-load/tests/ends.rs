//! How connections ended, and after how many bytes, as the report shows it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use parrot_load::{Ended, Length, Plan, Report, Stop};
use parrot_testkit::client::reset;
use parrot_testkit::scripted::serve;

/// A server that answers one message of 12 bytes, receives the next one and does this.
fn after_one(end: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    serve(move |_, mut stream| {
        let mut message = [0; 12];
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        end(stream);
        Ok(())
    })
}

fn run(address: SocketAddr) -> Report {
    let plan = Plan {
        connections: 3,
        warmup: Duration::ZERO,
        length: Length::Messages(100),
        timeout: Duration::from_secs(1),
        ..Plan::new(address)
    };
    parrot_load::run(&plan, &Stop::default(), &mut ()).expect("the run takes place")
}

#[test]
fn ends_are_reported_with_the_bytes_before_them() {
    let three = Ended { connections: 3, least_bytes: 12, most_bytes: 12, bytes: 36 };
    let report = run(after_one(drop));
    assert_eq!(report.failures.ends.finished, three, "{report}");
    assert!(report.to_string().contains("\n  ended       3 by FIN after 12 bytes"), "{report}");
    let report = run(after_one(|stream| reset(stream).unwrap()));
    assert_eq!(report.failures.ends.reset, three, "{report}");
    let report = run(after_one(|mut stream| drop(stream.read(&mut [0]))));
    assert_eq!(report.failures.ends.timeout, three, "{report}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["failures"]["ends"]["timeout"]["most_bytes"], 12, "{json}");
}

#[test]
fn a_reset_right_after_the_connect_is_always_counted() {
    // Depending on the time, the client meets it when it looks whether it is connected, when it sends or when it receives.
    for round in 0..20 {
        let address = serve(|number, stream| {
            match number {
                0..3 => reset(stream).unwrap(),
                _ => parrot_testkit::scripted::echo(stream)?,
            }
            Ok(())
        });
        let report = run(address);
        let three = Ended { connections: 3, ..Ended::default() };
        assert_eq!((report.failures.ends.reset, report.failures.connect), (three, 0), "round {round}: {report}");
    }
}
