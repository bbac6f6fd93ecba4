//! Shrinks a story to the least that still breaks the same promise.

use crate::check::Promise;
use crate::coverage::Point;
use crate::story::{Source, Story};

impl Story {
    /// Leaves out peers and faults and halves what the peers send, as long as `fails` finds the same promise broken.
    pub fn shrink(&self, promise: Promise, fails: impl Fn(&Story) -> Option<Promise>) -> Story {
        let still_fails = |story: &Story| fails(story) == Some(promise);
        let mut least = self.clone();
        loop {
            let before = least.size();
            least = least.with_fewer_peers(&still_fails);
            least = least.with_fewer_faults(&still_fails);
            least = least.with_fewer_bytes(&still_fails);
            if least.size() == before {
                return least;
            }
        }
    }

    fn size(&self) -> (usize, usize, u64) {
        let (plan, _) = self.plan();
        (plan.kept_peers().len(), plan.faults().len(), plan.most_bytes())
    }

    /// Leaves out peers in large pieces first, because there may be more than a thousand.
    fn with_fewer_peers(self, still_fails: &impl Fn(&Story) -> bool) -> Story {
        let mut least = self;
        let mut peers = least.plan().0.kept_peers();
        let mut piece = peers.len();
        while piece > 0 {
            let mut from = 0;
            while from < peers.len() {
                let mut kept = peers.clone();
                kept.drain(from..(from + piece).min(peers.len()));
                let tried = Story { peers: Some(kept.clone()), ..least.clone() };
                if still_fails(&tried) {
                    (least, peers) = (tried, kept);
                } else {
                    from += piece;
                }
            }
            piece /= 2;
        }
        least
    }

    fn with_fewer_faults(self, still_fails: &impl Fn(&Story) -> bool) -> Story {
        let mut least = self;
        let mut faults = least.plan().0.faults();
        for fault in faults.clone() {
            let kept: Vec<Point> = faults.iter().copied().filter(|kept| *kept != fault).collect();
            let tried = Story { faults: Some(kept.clone()), ..least.clone() };
            if still_fails(&tried) {
                (least, faults) = (tried, kept);
            }
        }
        least
    }

    fn with_fewer_bytes(self, still_fails: &impl Fn(&Story) -> bool) -> Story {
        let mut least = self;
        loop {
            let most = least.plan().0.most_bytes();
            let tried = Story { most_bytes: Some(most / 2), ..least.clone() };
            if most == 0 || !still_fails(&tried) {
                return least;
            }
            least = tried;
        }
    }

    /// The command that runs this story again, with its trace.
    pub fn replay(&self) -> String {
        let Source::Seed(seed) = self.source else { return "the fuzzer's input".to_owned() };
        let mut command = format!("cargo xtask simulate --profile {} --replay {seed}", self.profile);
        if let Some(peers) = &self.peers {
            command.push_str(&format!(" --peers {}", listed(ranges(peers).into_iter())));
        }
        if let Some(most) = self.most_bytes {
            command.push_str(&format!(" --most-bytes {most}"));
        }
        if let Some(faults) = &self.faults {
            command.push_str(&format!(" --faults {}", listed(faults.iter().copied().map(Point::argument))));
        }
        command
    }
}

/// Lists items as an argument, or says `none`.
fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(",") }
}

/// Formats numbers in rising order as ranges, such as 2-5 and 7, because a story may need a thousand peers.
fn ranges(numbers: &[usize]) -> Vec<String> {
    let neighbours = numbers.chunk_by(|one, next| *next == one + 1);
    let range = |run: &[usize]| match run {
        [first, .., last] => format!("{first}-{last}"),
        [one] => one.to_string(),
        [] => String::new(),
    };
    neighbours.map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    #[test]
    fn peers_are_listed_in_ranges() {
        assert_eq!(listed(ranges(&[0, 2, 3, 4, 9, 10]).into_iter()), "0,2-4,9-10");
        assert_eq!(listed(ranges(&[]).into_iter()), "none");
    }

    #[test]
    fn a_story_shrinks_to_what_breaks_it() {
        let story = Story::of_seed(Profile::Kqueue, 4);
        let culprit = *story.plan().0.kept_peers().last().unwrap();
        // Imitates a fault that one peer triggers once it has sent a hundred bytes.
        let fails = |story: &Story| {
            let (plan, _) = story.plan();
            let shows = plan.kept_peers().contains(&culprit) && plan.most_bytes() >= 100;
            shows.then_some(Promise::Bytes)
        };
        assert!(fails(&story).is_some(), "this seed does not fail");
        let least = story.shrink(Promise::Bytes, fails);
        assert_eq!(least.peers, Some(vec![culprit]));
        assert!(least.plan().0.faults().is_empty());
        assert!((100..200).contains(&least.plan().0.most_bytes()));
        let most = least.most_bytes.unwrap();
        let expected = format!(
            "cargo xtask simulate --profile kqueue --replay 4 --peers {culprit} --most-bytes {most} --faults none"
        );
        assert_eq!(least.replay(), expected);
    }
}
