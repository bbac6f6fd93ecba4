//! How often each fault happens.

use crate::coverage::Point;
use crate::dice::Dice;
use crate::profile::Profile;

/// How often each fault happens in 256 calls.
#[derive(Debug, Clone)]
pub(crate) struct Rates([u8; Point::COUNT]);

impl Rates {
    #[inline]
    pub(crate) fn of(&self, fault: Point) -> u8 {
        self.0[fault as usize]
    }

    pub(crate) fn draw(profile: Profile, dice: &mut Dice) -> Rates {
        let mut rates = Rates([0; Point::COUNT]);
        let (share, highest) = Rates::level(dice);
        rates.draw_some(Point::FAULTS_OF_TCP, profile, share, highest, dice);
        // The loop makes these calls seldom, so their faults get higher rates.
        for fault in [
            Point::BufferNoMemory,
            Point::HasBacklogFails,
            Point::PeekInterrupted,
            Point::PeekNoMemory,
            Point::PeekFails,
            Point::PeekGone,
        ] {
            if highest != [0; 4] && dice.chance(64) {
                rates.0[fault as usize] = dice.pick([16, 64]);
            }
        }
        // Faults that end a connection or stop progress for long are rare. Otherwise a run would show little else.
        for (fault, most) in [
            (Point::WaitInterrupted, 96),
            (Point::WaitEarly, 96),
            (Point::ReceiveEmpty, 96),
            (Point::SendFull, 96),
            (Point::PeekInterrupted, 64),
            (Point::ReceiveFails, 1),
            (Point::ReceiveGone, 1),
            (Point::SendFails, 1),
            (Point::SendGone, 1),
            (Point::SendPrototype, 1),
            (Point::ClockJumps, 1),
            (Point::ReceiveNoMemory, 16),
            (Point::SendNoBuffers, 16),
            (Point::SendNoMemory, 16),
            (Point::WatchWriteFails, 16),
            (Point::UnwatchWriteFails, 16),
            (Point::WatchReadFails, 64),
            (Point::SetUpFails, 64),
        ] {
            rates.limit(fault, most);
        }
        rates
    }

    /// Draws rates for the faults of everything but TCP.
    pub(crate) fn draw_doors(&mut self, profile: Profile, dice: &mut Dice) {
        let (share, highest) = Rates::level(dice);
        self.draw_some(Point::FAULTS_OF_DOORS, profile, share, highest, dice);
        for (fault, most) in [
            (Point::DatagramsEmpty, 96),
            (Point::DatagramsNoMemory, 16),
            (Point::DatagramsRefused, 16),
            (Point::DatagramsFail, 16),
            (Point::DatagramErrors, 64),
        ] {
            self.limit(fault, most);
        }
    }

    /// Draws how many faults a seed has in 256, and how often they happen.
    fn level(dice: &mut Dice) -> (u8, [u8; 4]) {
        // One seed in eight has no faults, and one in eight has frequent ones.
        match dice.below(8) {
            0 => (0, [0; 4]),
            1..5 => (48, [1, 2, 8, 32]),
            5..7 => (110, [1, 4, 16, 64]),
            _ => (64, [8, 32, 128, 224]),
        }
    }

    fn draw_some(&mut self, faults: &[Point], profile: Profile, share: u8, highest: [u8; 4], dice: &mut Dice) {
        for fault in faults.iter().filter(|fault| fault.is_in(profile)) {
            if dice.chance(share) {
                self.0[*fault as usize] = dice.pick(highest);
            }
        }
    }

    pub(crate) fn limit(&mut self, fault: Point, most: u8) {
        self.0[fault as usize] = self.of(fault).min(most);
    }
}
