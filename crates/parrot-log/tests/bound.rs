//! The log's memory is bounded and every line is counted, however much is logged and however slowly it is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::io::{PipeReader, Read as _};

use parrot_log::Format;
use parrot_testkit::PATIENCE;
use proptest::prelude::*;

use support::{dropped_here, layer, log, piped, with_default};

/// Two buffers of 512 KiB, one that fills and one that the thread writes, and a pipe. A pipe holds 64 KiB on most
/// systems, and on none as much as is allowed for here.
const MOST_HELD: u64 = (2 * 512 + 256) * 1024;

/// What the program and the reader of its log do.
#[derive(Debug, Clone)]
enum Step {
    /// The program logs messages of the same size.
    Log { messages: u16, bytes: u16 },
    /// The reader reads up to this many bytes.
    Read(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..400u16, 0..2000u16).prop_map(|(messages, bytes)| Step::Log { messages, bytes }),
        1 => (1..200_000u32).prop_map(Step::Read),
    ]
}

/// Reads up to `most` bytes without waiting, because there may be nothing left to read.
fn read(reader: &mut PipeReader, most: u32, into: &mut Vec<u8>) {
    let mut space = vec![0; most as usize];
    if let Ok(n) = reader.read(&mut space) {
        into.extend_from_slice(&space[..n]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn buffers_are_bounded_and_every_line_is_counted(steps in prop::collection::vec(step(), 1..40)) {
        let (mut reader, writer) = piped(Format::Clf);
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let (mut logged, mut logged_bytes, mut read_back) = (0, 0, Vec::new());
        with_default(&layer(&writer, 4096), || {
            for step in &steps {
                match *step {
                    Step::Log { messages, bytes } => {
                        let payload = vec![b'p'; usize::from(bytes)];
                        (0..messages).for_each(|_| log(&payload));
                        logged += u64::from(messages);
                        logged_bytes += u64::from(messages) * u64::from(bytes);
                    }
                    Step::Read(most) => read(&mut reader, most, &mut read_back),
                }
                // A lower bound of the bytes still held, as no payload is longer than 2,000 bytes.
                let dropped = writer.statistics().dropped;
                let held = logged_bytes.saturating_sub(dropped * 2000 + read_back.len() as u64);
                prop_assert!(held <= MOST_HELD, "at least {held} bytes are held");
            }
            Ok(())
        })?;
        rustix::io::ioctl_fionbio(&reader, false).unwrap();
        let reading = std::thread::spawn(move || reader.read_to_end(&mut read_back).map(|_| read_back));
        let statistics = writer.close(PATIENCE);
        prop_assert_eq!(statistics.written + statistics.dropped, logged);
        let log = String::from_utf8(reading.join().unwrap().unwrap()).unwrap();
        let reported: u64 = log.lines().filter_map(dropped_here).sum();
        let lines = log.lines().filter(|line| dropped_here(line).is_none()).count() as u64;
        prop_assert_eq!((lines, reported), (statistics.written, statistics.dropped));
    }
}
