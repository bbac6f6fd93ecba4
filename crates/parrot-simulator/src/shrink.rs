//! The least of a story that still breaks the same promise.

use crate::check::Promise;
use crate::run::{Source, Story};

impl Story {
    /// Leaves out peers and faults, one after the other, as long as `fails` finds the same promise broken.
    pub fn shrink(&self, promise: Promise, fails: impl Fn(&Story) -> Option<Promise>) -> Story {
        let mut least = self.clone();
        let (plan, _) = self.plan();
        let mut peers = plan.kept_peers();
        loop {
            let before = (peers.len(), least.without.len());
            for peer in peers.clone() {
                let kept: Vec<usize> = peers.iter().copied().filter(|kept| *kept != peer).collect();
                let tried = Story { peers: Some(kept.clone()), ..least.clone() };
                if fails(&tried) == Some(promise) {
                    (least, peers) = (tried, kept);
                }
            }
            for fault in least.plan().0.faults() {
                let mut tried = least.clone();
                tried.without.push(fault);
                if fails(&tried) == Some(promise) {
                    least = tried;
                }
            }
            if before == (peers.len(), least.without.len()) {
                return least;
            }
        }
    }

    /// The command that runs this story again, with its trace.
    pub fn replay(&self) -> String {
        let Source::Seed(seed) = self.source else { return "the fuzzer's input".to_owned() };
        let mut command = format!("cargo xtask simulate --profile {} --replay {seed}", self.profile);
        if let Some(peers) = &self.peers {
            let peers: Vec<String> = peers.iter().map(usize::to_string).collect();
            command.push_str(&format!(" --peers {}", peers.join(",")));
        }
        if !self.without.is_empty() {
            let faults: Vec<String> = self.without.iter().map(|fault| fault.argument()).collect();
            command.push_str(&format!(" --without {}", faults.join(",")));
        }
        command
    }
}
