//! How often something happens: a share of all cases, and values with a share each.

use std::fmt;
use std::sync::Arc;

use super::random::Random;

/// A share of all cases, exact to a ten-thousandth of a percent.
///
/// ```
/// use parrot_conn::fault::Share;
///
/// let share = Share::from_millionths(205_000).ok_or("more than all")?;
/// assert_eq!(share.to_string(), "20.5%");
/// assert_eq!(Share::from_percent(20), Share::from_millionths(200_000));
/// assert_eq!(Share::from_percent(101), None);
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

impl Share {
    /// No case at all.
    pub const NONE: Share = Share(0);

    /// Every case.
    pub const ALL: Share = Share(1_000_000);

    /// So many of a million cases. `None` if that is more than all.
    pub fn from_millionths(millionths: u32) -> Option<Share> {
        Some(Share(millionths)).filter(|share| *share <= Share::ALL)
    }

    /// So many of a hundred cases. `None` if that is more than all.
    pub fn from_percent(percent: u32) -> Option<Share> {
        percent.checked_mul(10_000).and_then(Share::from_millionths)
    }

    /// How many of a million cases it is.
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// Decides one case.
    pub(super) fn hits(self, random: &mut Random) -> bool {
        random.below(Share::ALL.0.into()) < self.0.into()
    }
}

impl fmt::Display for Share {
    /// The share in percent, such as `20%` or `0.5%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        match rest {
            0 => write!(f, "{whole}%"),
            _ => write!(f, "{whole}.{}%", format!("{rest:04}").trim_end_matches('0')),
        }
    }
}

/// One value for every case, or several with a share each. What the shares leave over gets none.
///
/// This is what fortio's `delay` can say: `50ms:80,2s:20` is 50 ms in 80 % of all cases and two seconds in the others.
///
/// ```
/// use parrot_conn::fault::{Chances, Share};
///
/// let percent = |n| Share::from_percent(n).ok_or("more than all");
/// assert!(Chances::new([("short", percent(80)?), ("long", percent(20)?)]).is_some());
/// assert!(Chances::new([("short", percent(80)?), ("long", percent(30)?)]).is_none());
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chances<T>(Arc<[(T, Share)]>);

impl<T: Copy> Chances<T> {
    /// This value in every case.
    pub fn always(value: T) -> Chances<T> {
        Chances(Arc::new([(value, Share::ALL)]))
    }

    /// These values, in these shares of all cases. `None` if the shares are more than all, or if there is no value.
    pub fn new(values: impl IntoIterator<Item = (T, Share)>) -> Option<Chances<T>> {
        let values: Arc<[(T, Share)]> = values.into_iter().collect();
        let sum = values.iter().try_fold(0_u32, |sum, (_, share)| sum.checked_add(share.0))?;
        Share::from_millionths(sum).filter(|_| !values.is_empty()).map(|_| Chances(values))
    }

    /// The values and their shares.
    pub fn values(&self) -> &[(T, Share)] {
        &self.0
    }

    /// The value of the next case, if it has one.
    pub(super) fn draw(&self, random: &mut Random) -> Option<T> {
        let mut point = random.below(Share::ALL.0.into());
        for (value, share) in self.values() {
            match point.checked_sub(share.0.into()) {
                Some(beyond) => point = beyond,
                None => return Some(*value),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_in_percent() {
        for (millionths, text) in [(0, "0%"), (1, "0.0001%"), (5000, "0.5%"), (123_400, "12.34%"), (1_000_000, "100%")]
        {
            assert_eq!(Share::from_millionths(millionths).map(|share| share.to_string()), Some(text.to_owned()));
        }
        assert_eq!(Share::from_millionths(1_000_001), None);
        assert_eq!(Share::from_percent(u32::MAX), None);
    }

    #[test]
    fn none_never_hits_and_all_always_does() {
        let mut random = Random::of(1, 2, 3);
        assert!((0..10_000).all(|_| Share::ALL.hits(&mut random) && !Share::NONE.hits(&mut random)));
    }

    #[test]
    fn values_come_as_often_as_their_shares_say() {
        let percent = |n| Share::from_percent(n).unwrap();
        let chances = Chances::new([("short", percent(70)), ("long", percent(20))]).unwrap();
        let mut random = Random::of(1512, 0, 0);
        let drawn: Vec<Option<&str>> = (0..100_000).map(|_| chances.draw(&mut random)).collect();
        for (value, expected) in [(Some("short"), 70_000), (Some("long"), 20_000), (None, 10_000)] {
            let times = drawn.iter().filter(|drawn| **drawn == value).count();
            // The standard deviation is at most 158.
            assert!(times.abs_diff(expected) < 1000, "{value:?} came {times} times");
        }
    }
}
