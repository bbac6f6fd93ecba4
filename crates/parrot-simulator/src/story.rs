//! What a run is made of, from one seed or one input of a fuzzer.

use crate::coverage::Point;
use crate::dice::Dice;
use crate::plan::Plan;
use crate::profile::Profile;

/// Everything that happens in one run.
#[derive(Debug, Clone)]
pub struct Story {
    /// The family of systems.
    pub profile: Profile,
    /// The source of its decisions.
    pub source: Source,
    /// The faults of the plan that may happen, or `None` for all.
    pub faults: Option<Vec<Point>>,
    /// The peers that take part, or `None` for all.
    pub peers: Option<Vec<usize>>,
    /// A limit to the bytes that each peer sends.
    pub most_bytes: Option<u64>,
}

/// The source of a story's decisions.
#[derive(Debug, Clone)]
pub enum Source {
    /// A seed.
    Seed(u64),
    /// The input of a fuzzer.
    Bytes(Vec<u8>),
}

impl Story {
    /// The whole story of a seed.
    pub fn of_seed(profile: Profile, seed: u64) -> Story {
        Story::of(profile, Source::Seed(seed))
    }

    /// The story of a fuzzer's input, whose first byte chooses the family of systems.
    pub fn of_bytes(bytes: &[u8]) -> Story {
        let (first, rest) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
        let profile = if first.is_multiple_of(2) { Profile::Kqueue } else { Profile::Epoll };
        Story::of(profile, Source::Bytes(rest.to_vec()))
    }

    fn of(profile: Profile, source: Source) -> Story {
        Story { profile, source, faults: None, peers: None, most_bytes: None }
    }

    /// The plan, and the dice for what is decided during the run.
    pub(crate) fn plan(&self) -> (Plan, Dice) {
        let dice = match &self.source {
            Source::Seed(seed) => Dice::seeded(*seed),
            Source::Bytes(bytes) => Dice::bytes(bytes),
        };
        let mut plan = Plan::draw(self.profile, &dice);
        if let Some(faults) = &self.faults {
            plan.keep_faults(faults);
        }
        if let Some(peers) = &self.peers {
            plan.keep_peers(peers);
        }
        if let Some(most) = self.most_bytes {
            plan.limit_bytes(most);
        }
        (plan, dice)
    }

    /// Describes the story in a few lines: the configuration of the server and the faults that may happen.
    pub fn described(&self) -> String {
        let (plan, _) = self.plan();
        let faults: Vec<&str> = plan.faults().into_iter().map(Point::name).collect();
        let (limits, ending) = (&plan.limits, &plan.ending);
        let (ports, doors, backlog, changes) = (&plan.ports, &plan.doors, plan.backlog, &plan.changes);
        let descriptors = match plan.descriptors {
            usize::MAX => "descriptors without limit".to_owned(),
            limit => format!("{limit} descriptors for connections"),
        };
        let faults = faults.join(", ");
        format!(
            "{limits:?}\n{ports:?}, backlog {backlog}, {descriptors}\n{doors:?}\n\
             {ending:?} (in nanoseconds)\nchanges: {changes:?}\nfaults: {faults}"
        )
    }
}
