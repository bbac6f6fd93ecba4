//! However much is handed over and however its reader behaves: what waits is bounded, and every line is accounted for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::io::{self, PipeReader, Read as _};
use std::os::fd::OwnedFd;

use parrot_log::{ClfLayer, Writer};
use proptest::prelude::*;
use tracing::subscriber::with_default;
use tracing_subscriber::layer::SubscriberExt as _;

use support::{PATIENCE, dropped_here, log};

/// Two buffers of 512 KiB, one that fills and one that the thread writes, and a pipe: 64 KiB on most systems, and on none
/// as much as is allowed for here.
const MOST_HELD: u64 = (2 * 512 + 256) * 1024;

/// What the server and its reader do.
#[derive(Debug, Clone)]
enum Step {
    /// So many messages of so many bytes each.
    Log { messages: u16, bytes: u16 },
    /// So many bytes of the log are read, if as many have been written.
    Read(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..400u16, 0..2000u16).prop_map(|(messages, bytes)| Step::Log { messages, bytes }),
        1 => (1..200_000u32).prop_map(Step::Read),
    ]
}

/// Reads so much, but never waits: the writer may have nothing more to say.
fn read(reader: &mut PipeReader, most: u32, into: &mut Vec<u8>) {
    let mut space = vec![0; most as usize];
    if let Ok(n) = reader.read(&mut space) {
        into.extend_from_slice(&space[..n]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn what_waits_is_bounded_and_every_line_is_written_or_counted_as_dropped(steps in prop::collection::vec(step(), 1..40)) {
        let (mut reader, end) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let (writer, guard) = Writer::descriptor(OwnedFd::from(end)).unwrap();
        let (mut handed, mut handed_bytes, mut read_back) = (0, 0, Vec::new());
        let subscriber = tracing_subscriber::registry().with(ClfLayer::new(writer, 4096));
        with_default(subscriber, || {
            for step in &steps {
                match *step {
                    Step::Log { messages, bytes } => {
                        let payload = vec![b'p'; usize::from(bytes)];
                        (0..messages).for_each(|_| log(&payload));
                        handed += u64::from(messages);
                        handed_bytes += u64::from(messages) * u64::from(bytes);
                    }
                    Step::Read(most) => read(&mut reader, most, &mut read_back),
                }
                // No payload is longer than 2,000 bytes: at least so many bytes were not dropped and not read yet.
                let dropped = guard.statistics().dropped;
                let kept = handed_bytes.saturating_sub(dropped * 2000 + read_back.len() as u64);
                prop_assert!(kept <= MOST_HELD, "{kept} bytes wait at least");
            }
            Ok(())
        })?;
        rustix::io::ioctl_fionbio(&reader, false).unwrap();
        let reading = std::thread::spawn(move || reader.read_to_end(&mut read_back).map(|_| read_back));
        let statistics = guard.close(PATIENCE);
        prop_assert_eq!(statistics.written + statistics.dropped, handed);
        let log = String::from_utf8(reading.join().unwrap().unwrap()).unwrap();
        let told: u64 = log.lines().filter_map(dropped_here).sum();
        let lines = log.lines().filter(|line| dropped_here(line).is_none()).count() as u64;
        prop_assert_eq!((lines, told), (statistics.written, statistics.dropped));
    }
}
