//! From `--fault`, `--seed` and `,fault=` behind a place to the faults of the server.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use parrot_server::fault::{FaultKind, FaultPlan, FaultRule};
use parrot_values::Endpoint;

use crate::arguments::Arguments;

/// A seed that was not asked for is below this one, so that it is short to write.
const SEEDS: u64 = 1_000_000;

/// The seed of all choices. Without `--seed` it is any one, which stays the same until the end of the process.
pub(crate) fn seed(arguments: &Arguments) -> u64 {
    static CHOSEN: OnceLock<u64> = OnceLock::new();
    // Each `RandomState` has random keys of its own. The standard library has no other source of random numbers.
    arguments.seed.unwrap_or_else(|| *CHOSEN.get_or_init(|| RandomState::new().build_hasher().finish() % SEEDS))
}

/// The plan of these faults, or `None` without any. Contradictions among them are wrong usage, which was found before.
pub(crate) fn plan(arguments: &Arguments, rules: &[FaultRule]) -> Result<Option<FaultPlan>> {
    if rules.is_empty() {
        return Ok(None);
    }
    FaultPlan::new(seed(arguments), rules.to_vec()).map(Some).map_err(|conflict| anyhow!("{conflict}"))
}

/// What the start line and a reload say of faults, which is nothing without any. `own` says whether a listener has
/// faults of its own.
pub(crate) fn status(arguments: &Arguments, own: bool) -> String {
    match arguments.fault.is_empty() && !own {
        true => String::new(),
        false => format!(", with the faults of --seed {}", seed(arguments)),
    }
}

/// What is wrong with these faults together.
pub(crate) fn conflict(rules: &[FaultRule]) -> Option<String> {
    FaultPlan::new(0, rules.to_vec()).err().map(|conflict| conflict.to_string())
}

/// What is wrong with these faults at this place.
pub(crate) fn conflict_at(endpoint: &Endpoint, rules: &[FaultRule]) -> Option<String> {
    let is_udp = matches!(endpoint, Endpoint::Udp(..));
    let is_strange = |kind: FaultKind| if is_udp { !kind.is_of_datagrams() } else { !is_of_connections(kind) };
    let strange = rules.iter().map(|rule| rule.fault.kind()).find(|kind| is_strange(*kind));
    let what = if is_udp { "datagrams" } else { "connections" };
    strange.map(|kind| format!("{kind} does not happen to {what}, so leave it out")).or_else(|| conflict(rules))
}

/// What is wrong with `--fault` and `--seed`, beside the other options. `passed` says whether a service manager may have
/// passed sockets, which can be of any kind.
pub(crate) fn without_effect(arguments: &Arguments, passed: bool) -> Option<String> {
    let places = || arguments.listen.iter();
    let has_default = passed || arguments.has_short_form() || arguments.listen.is_empty();
    let shared = || places().filter(|listen| listen.faults.is_empty());
    let udp = passed || shared().any(|listen| matches!(listen.endpoint, Endpoint::Udp(..)));
    let stream = has_default || shared().any(|listen| !matches!(listen.endpoint, Endpoint::Udp(..)));
    if arguments.seed.is_some() && arguments.fault.is_empty() && places().all(|listen| listen.faults.is_empty()) {
        return Some("--seed chooses among faults, so add --fault or leave it out".to_owned());
    }
    if !arguments.fault.is_empty() && !udp && !stream {
        return Some("--fault has no effect, because each place has faults of its own, so leave it out".to_owned());
    }
    let kinds = arguments.fault.iter().map(|rule| rule.fault.kind());
    kinds.into_iter().find_map(|kind| {
        if (udp && kind.is_of_datagrams()) || (stream && is_of_connections(kind)) {
            return None;
        }
        let (what, place) = match kind.is_of_datagrams() {
            true => ("datagrams", "udp:HOST:PORT"),
            false => ("connections", "tcp:HOST:PORT"),
        };
        Some(format!("--fault {kind} is for {what}, so add --listen {place} or leave it out"))
    })
}

fn is_of_connections(kind: FaultKind) -> bool {
    kind == FaultKind::Refuse || kind.has_probability()
}
