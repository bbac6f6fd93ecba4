//! Searches for the highest rate of an open loop at which objectives hold.

mod bracket;
#[cfg(feature = "program")]
pub(crate) mod chart;
mod objective;
mod text;

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use self::bracket::Bracket;
pub use self::objective::Objective;
use crate::error::Error;
use crate::latency::Latency;
use crate::plan::{Length, Pace, Plan};
use crate::report::{Load, Mark, Report};
use crate::watch::{Stop, Watch};

/// Name and version of the JSON format. The version changes when a field changes its meaning or is removed.
const SCHEMA: &str = "parrot-load-search/1";
/// Where a search begins if the plan has no rate, in messages a second.
const START: f64 = 1000.0;

/// The most steps. A limit that moves, because other programs use the machine as well, could be searched for forever.
const MOST_STEPS: usize = 60;
/// The longest that the window of a step becomes for the sake of its percentiles.
const LONGEST: Duration = Duration::from_secs(60);

/// The highest rate at which all objectives hold, and how it was found.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// Name and version of this format.
    pub schema: Cow<'static, str>,
    /// Version of the load generator.
    pub version: Cow<'static, str>,
    /// What was run. The rate is that of the last step.
    pub load: Load,
    /// The objectives, in the form of the command line.
    pub objectives: Vec<Objective>,
    /// The highest rate that held and was not contradicted, in messages a second. `None` if none held.
    pub rate: Option<f64>,
    /// The lowest rate that failed, so that the limit lies between the two. `None` if none failed.
    pub failed: Option<f64>,
    /// Whether both were measured often enough to be sure.
    pub confirmed: bool,
    /// What gave out first.
    pub limit: Limit,
    /// Every measurement, in its order.
    pub steps: Vec<Step>,
}

/// What gave out at the lowest rate that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// The server, or the way to it.
    Server,
    /// The load generator. The server may be capable of more.
    Client,
    /// Nothing, up to the highest rate that a load may have.
    Nothing,
    /// The search was stopped before that was known.
    Unknown,
}

/// One measurement of a search.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Messages a second that were asked for.
    pub rate: f64,
    /// Messages a second that were answered in the window.
    pub messages_per_second: f64,
    /// From when messages were due until their answers were back, in microseconds.
    pub latency: Latency,
    /// How late the load generator was to send, in microseconds.
    pub lateness: Latency,
    /// The share of messages that failed, were lost or were never sent.
    pub errors: f64,
    /// Whether all objectives held.
    pub held: bool,
    /// Whether the load generator itself was why one failed.
    pub client_bound: bool,
}

impl Step {
    fn of(rate: f64, report: &Report, objectives: &[Objective]) -> Step {
        let missed: Vec<&Objective> = objectives.iter().filter(|objective| !objective.holds(report)).collect();
        Step {
            rate,
            messages_per_second: report.messages_per_second,
            latency: report.latency,
            lateness: report.lateness.unwrap_or_default(),
            errors: objective::errors(report),
            held: missed.is_empty(),
            client_bound: !missed.is_empty() && missed.iter().all(|objective| objective.is_missed_by_client(report)),
        }
    }
}

/// Searches for the highest rate at which the objectives hold. The rate doubles until one fails, or halves until all
/// hold. Then the range between is bisected until its ends are within 2 % of each other. At last both ends are measured
/// again, and the search goes on if they turn out to be wrong. A step that failed by the load generator itself counts
/// only if it does so twice.
///
/// Every step is a [`run`](crate::run()) of its own, with its warm-up and a window as long as the plan says, or up to a
/// minute if that is too short for twenty messages beyond each percentile. The plan's rate, if it has one, is where the
/// search begins. Without an objective for errors, no message may fail.
///
/// After each step `stepped` is called. A search that is stopped returns what it has found so far, and so does one whose
/// limit still moves after 60 steps.
///
/// # Errors
///
/// [`Error`] says why a step could not take place.
pub fn find_rate(
    plan: &Plan,
    objectives: &[Objective],
    stop: &Stop,
    watch: &mut dyn Watch,
    stepped: &mut dyn FnMut(&Step),
) -> Result<Found, Error> {
    let objectives = complete(objectives);
    let mut bracket = begin(plan);
    let (mut steps, mut load) = (Vec::new(), None);
    while steps.len() < MOST_STEPS
        && let Some(rate) = bracket.next()
    {
        let length = Length::Time(window(plan.length, rate, &objectives));
        let report = match crate::run::run(&Plan { pace: Pace::Rate(rate), length, ..plan.clone() }, stop, watch) {
            Err(Error::Stopped) if load.is_some() => break,
            report => report?,
        };
        load = Some(report.load.clone());
        if report.marks.contains(&Mark::StoppedEarly) {
            break;
        }
        let step = Step::of(rate, &report, &objectives);
        stepped(&step);
        learn(&mut bracket, &step, steps.last());
        steps.push(step);
    }
    let load = load.ok_or(Error::Stopped)?;
    Ok(Found::new(load, objectives, &bracket, steps))
}

fn begin(plan: &Plan) -> Bracket {
    Bracket::new(if let Pace::Rate(rate) = plan.pace { rate } else { START })
}

/// Takes what a step has shown. Something else may have kept the load generator from running, so a step that failed by
/// itself is measured again before it counts.
fn learn(bracket: &mut Bracket, step: &Step, before: Option<&Step>) {
    if !step.client_bound || before.is_some_and(|before| before.rate == step.rate && before.client_bound) {
        bracket.learn(step.rate, step.held);
    }
}

/// The highest rate that held and the lowest that failed after these steps of a search.
#[cfg(feature = "program")]
pub(crate) fn ends(plan: &Plan, steps: &[Step]) -> (Option<f64>, Option<f64>) {
    let mut bracket = begin(plan);
    for (place, step) in steps.iter().enumerate() {
        learn(&mut bracket, step, place.checked_sub(1).and_then(|before| steps.get(before)));
    }
    (bracket.highest_held().map(|(rate, _)| rate), bracket.lowest_failed().map(|(rate, _)| rate))
}

impl Found {
    fn new(load: Load, objectives: Vec<Objective>, bracket: &Bracket, steps: Vec<Step>) -> Found {
        let (held, failed) = (bracket.highest_held(), bracket.lowest_failed());
        let confirmed = bracket.next().is_none();
        let blamed = failed.map(|(failed, _)| {
            let failures = || steps.iter().filter(|step| step.rate == failed && !step.held);
            let by_client = failures().filter(|step| step.client_bound).count();
            if by_client * 2 > failures().count() { Limit::Client } else { Limit::Server }
        });
        Found {
            schema: Cow::Borrowed(SCHEMA),
            version: Cow::Borrowed(env!("CARGO_PKG_VERSION")),
            load,
            objectives,
            rate: held.map(|(rate, _)| rate),
            failed: failed.map(|(rate, _)| rate),
            confirmed,
            limit: blamed.unwrap_or(if confirmed { Limit::Nothing } else { Limit::Unknown }),
            steps,
        }
    }
}

/// The objectives, and that no message fails if none of them is for errors.
pub(crate) fn complete(objectives: &[Objective]) -> Vec<Objective> {
    let has_errors = objectives.iter().any(|objective| matches!(objective, Objective::Errors(_)));
    objectives.iter().copied().chain((!has_errors).then_some(Objective::Errors(0.0))).collect()
}

/// How long to measure at `rate`, so that there are enough messages for the objectives. At a low rate that would take too
/// long, so there are fewer.
fn window(length: Length, rate: f64, objectives: &[Objective]) -> Duration {
    let needed = objectives.iter().map(Objective::messages_needed).fold(0.0, f64::max);
    let needed = Duration::try_from_secs_f64(needed / rate).unwrap_or(LONGEST).min(LONGEST);
    match length {
        Length::Time(time) => time.max(needed),
        Length::Messages(messages) => {
            Duration::try_from_secs_f64(messages as f64 / rate).unwrap_or(Duration::MAX).max(needed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P99: Objective = Objective::Percentile { percentile: 99.0, at_most: Duration::from_millis(10) };

    #[test]
    fn a_window_has_messages_for_the_rarest_percentile() {
        let second = Length::Time(Duration::from_secs(1));
        let p999 = Objective::Percentile { percentile: 99.9, at_most: Duration::from_secs(1) };
        let windows = [1e6, 1e4, 1000.0].map(|rate| window(second, rate, &[P99, p999]).as_secs_f64().round());
        assert_eq!(windows, [1.0, 2.0, 20.0], "twenty messages beyond the percentile");
        assert_eq!(window(second, 1000.0, &[Objective::Errors(0.0)]), Duration::from_secs(1));
        assert_eq!(window(second, 1.0, &[P99]), LONGEST);
    }

    #[test]
    fn no_message_may_fail_unless_an_objective_allows_it() {
        assert_eq!(complete(&[P99]), [P99, Objective::Errors(0.0)]);
        assert_eq!(complete(&[Objective::Errors(0.5)]), [Objective::Errors(0.5)]);
    }

    #[test]
    fn the_client_is_the_limit_if_it_was_at_most_failures() {
        let step = |rate, held, client_bound| Step {
            rate,
            messages_per_second: rate,
            latency: Latency::default(),
            lateness: Latency::default(),
            errors: 0.0,
            held,
            client_bound,
        };
        let plan = Plan::new(std::net::SocketAddr::from(([127, 0, 0, 1], 1512)));
        let limit = |own| {
            let (mut bracket, mut steps) = (Bracket::new(1000.0), Vec::new());
            while let Some(rate) = bracket.next() {
                let held = rate <= 3000.0;
                bracket.learn(rate, held);
                let before = steps.iter().filter(|step: &&Step| step.rate == rate).count();
                steps.push(step(rate, held, !held && before < own));
            }
            let found = Found::new(Load::of(&plan, &plan.targets[0]), vec![P99], &bracket, steps);
            (found.confirmed, found.limit)
        };
        let limits = [3, 2, 1].map(limit);
        assert_eq!(limits, [(true, Limit::Client), (true, Limit::Client), (true, Limit::Server)]);
    }
}
