//! The bound on the answers to each network.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::time::SECOND;

/// The answers that networks have had. A network has a bucket that leaks.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// How full each bucket was, and when. A bucket that holds a second's answers is full.
    buckets: HashMap<Vec<u8>, (u64, u64)>,
}

impl Answers {
    /// Whether the network of this source may have another answer, which then counts.
    pub(crate) fn take(&mut self, source: IpAddr, rate: u32, now: u64) -> bool {
        let rate = u64::from(rate);
        let network = match source.to_canonical() {
            IpAddr::V4(address) => address.octets()[..3].to_vec(),
            IpAddr::V6(address) => address.octets()[..7].to_vec(),
        };
        let (level, since) = self.buckets.entry(network).or_insert((0, now));
        // An answer is worth a second of a rate of one, so that all of this is in whole numbers.
        *level = level.saturating_sub((now - *since) * rate);
        *since = now;
        let has_room = *level + SECOND <= rate * SECOND;
        *level += if has_room { SECOND } else { 0 };
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_seconds_answers_at_once_and_then_its_rate() {
        let mut answers = Answers::default();
        let source = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut at = |text, now| answers.take(source(text), 2, now);
        assert_eq!([at("192.0.2.1", 0), at("192.0.2.2", 0), at("192.0.2.1", 0)], [true, true, false]);
        assert!(!at("::ffff:192.0.2.3", SECOND / 2 - 1));
        assert!(at("192.0.2.1", SECOND / 2));
        assert!(!at("192.0.2.1", SECOND - 1));
        assert!(at("192.0.3.1", SECOND - 1), "another network");
        assert!(at("2001:db8:0:1::", 0) && at("2001:db8:0:ff::", 0) && !at("2001:db8:0:2::", 0));
    }
}
