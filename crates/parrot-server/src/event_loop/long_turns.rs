//! Turns that have taken long, in which a connection may have been active later than it seems.

use std::time::Duration;

use super::moment::Moment;

/// A turn is long if it takes more than this fraction of the idle timeout. What shorter turns add is ignored, because only
/// eight of the long ones fit into a timeout.
const PARTS_OF_IDLE: u32 = 8;

/// The beginnings and ends of long turns.
///
/// A byte is stamped with the beginning of the turn in which it moved. If that turn has taken long, because the process was
/// stopped or a call was slow, the byte counts as moved at its end. The turns are noted and not the connections, so the
/// work does not grow with those that are open.
#[derive(Debug, Default)]
pub(super) struct LongTurns(Vec<(Moment, Moment)>);

impl LongTurns {
    /// Notes a turn if it was long, and forgets those that no longer matter.
    pub(super) fn note(&mut self, began: Moment, ended: Moment, idle: Duration) {
        if ended.saturating_duration_since(began) > idle / PARTS_OF_IDLE {
            self.0.retain(|(_, earlier)| ended.saturating_duration_since(*earlier) <= idle);
            self.0.push((began, ended));
        }
    }

    /// The latest time at which a byte can have moved that was stamped with this one.
    pub(super) fn latest(&self, stamp: Moment) -> Moment {
        self.0.iter().find(|(began, _)| *began == stamp).map_or(stamp, |(_, ended)| *ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(8);

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn bytes_of_a_long_turn_count_from_its_end() {
        let mut turns = LongTurns::default();
        turns.note(at(10), at(11), IDLE);
        assert_eq!(turns.latest(at(10)), at(10), "an eighth of the timeout is not long");
        turns.note(at(12), at(14), IDLE);
        assert_eq!(turns.latest(at(12)), at(14));
        assert_eq!(turns.latest(at(14)), at(14), "the next turn");
    }

    #[test]
    fn turns_older_than_the_timeout_are_forgotten() {
        let mut turns = LongTurns::default();
        for turn in 0..100 {
            turns.note(at(2 * turn), at(2 * turn + 2), IDLE);
        }
        assert_eq!(turns.0.len(), 5, "what fits into the timeout");
        assert_eq!(turns.latest(at(198)), at(200));
    }
}
