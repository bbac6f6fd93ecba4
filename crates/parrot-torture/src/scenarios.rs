//! All scenarios, in the order in which they run.

mod connections;
mod faults;
mod halves;
mod logs;
mod mixture;
mod pages;
mod slow;
mod soak;

use crate::scenario::Scenario;

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    [connections::ALL, slow::ALL, halves::ALL, logs::ALL, faults::ALL, pages::ALL, soak::ALL].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use parrot_testkit::PATIENCE;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_a_story() {
        let all = super::all();
        let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|scenario| !scenario.name.is_empty() && !scenario.story.is_empty()));
    }

    #[test]
    fn most_scenarios_can_run_on_every_machine() {
        let always = super::all().into_iter().filter(|scenario| !scenario.may_be_skipped());
        let always: Vec<&str> = always.map(|scenario| scenario.name).collect();
        for name in ["descriptors-16", "reset-waves", "slow-readers", "half-closed", "log-pipe-stalled", "soak"] {
            assert!(always.contains(&name), "{name} is not in {always:?}");
        }
        assert!(!always.contains(&"calls-interrupted") && !always.contains(&"bad-network"), "{always:?}");
        assert_eq!(always.contains(&"log-device-full"), cfg!(target_os = "linux"));
    }

    #[test]
    fn no_bound_on_latency_is_longer_than_a_peer_waits() {
        for scenario in super::all() {
            let [median, most, all] = scenario.latencies;
            assert!(median <= most && most <= all && all < PATIENCE, "{}: {:?}", scenario.name, scenario.latencies);
        }
    }
}
