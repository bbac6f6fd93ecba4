//! A log from a program's own tracing events. Every line typed in is a message and appears in the log.
//!
//! ```text
//! $ printf 'Hello Parrot\nbell \a\n' | cargo run -q -p parrot-log --example messages
//! 127.0.0.1:53422 - - [02/Jan/2006:15:04:05 -0700] "Hello Parrot\n" 13
//! 127.0.0.1:53422 - - [02/Jan/2006:15:04:05 -0700] "bell \x07\n" 7
//! 2 log lines written, 0 dropped, 0 write errors
//! ```

use std::io::{self, BufRead as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use parrot_log::{Diagnostics, Format, MESSAGE_TARGET, MessageLayer, Writer};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> io::Result<()> {
    // Messages go to standard output, everything else to standard error.
    let writer = Writer::stdout(Format::Clf)?;
    let others = Targets::new().with_default(LevelFilter::INFO).with_target(MESSAGE_TARGET, LevelFilter::OFF);
    let diagnostics = tracing_subscriber::fmt::layer().with_writer(Diagnostics::stderr()?).with_filter(others);
    tracing_subscriber::registry().with(MessageLayer::new(writer.clone(), 256)).with(diagnostics).init();

    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 53422));
    let mut input = io::stdin().lock();
    let mut message = Vec::new();
    while input.read_until(b'\n', &mut message)? > 0 {
        tracing::info!(target: MESSAGE_TARGET, peer = %peer, payload = &message[..], bytes = message.len() as u64);
        message.clear();
    }

    // The last lines may still be in the buffer, so wait for them, but not for ever.
    let statistics = writer.close(Duration::from_secs(1));
    eprintln!("{statistics}");
    Ok(())
}
