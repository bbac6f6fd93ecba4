//! Peers of every kind for a long time, while the cost of the server is sampled and plotted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parrot_testkit::usage::Usage;

use crate::figures::size;
use crate::plot::{Curve, plot};
use crate::scenario::{Log, Scenario, Storm};

use super::mixture::{MIXED, mixed};

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "soak",
    story: "peers of every kind come and go for minutes while memory, descriptors and processor time are plotted",
    arguments: &["--idle-timeout", "1h"],
    log: Log::File,
    length: 12,
    storm: soak,
    ..Scenario::PLAIN
}];

fn soak(storm: &mut Storm<'_>) -> Result<()> {
    let start = Instant::now();
    let interval = storm.until.saturating_duration_since(start).div_f64(400.0).max(Duration::from_millis(50));
    let mut samples: Vec<(Duration, Usage)> = Vec::new();
    let count = storm.number(400, 40);
    let mixture = mixed(storm, count, MIXED, |storm| {
        let now = start.elapsed();
        if samples.last().is_none_or(|(last, _)| now - *last >= interval) {
            samples.extend(storm.server.usage().map(|usage| (now, usage)));
        }
        Ok(())
    })?;
    storm.report(mixture.to_string());
    if samples.len() < 8 {
        storm.report(format!("not plotted, because {} samples are too few", samples.len()));
        return Ok(());
    }
    let path = storm.folder.join("soak.svg");
    std::fs::write(&path, plot("Parrot under a mixed load", &curves(&samples)))?;
    storm.report(no_growth(&samples, count, storm.short)?);
    storm.report(format!("plot in {}", path.display()));
    Ok(())
}

/// Demands that the server costs no more in the last quarter than in the second, with `peers` at a time. Returns the
/// figures. The short form only reports the processor share, because a second on a busy machine proves nothing.
fn no_growth(samples: &[(Duration, Usage)], peers: usize, short: bool) -> Result<String> {
    // Memory grows in the first quarter, so the second is what later ones are compared with.
    let (_, later) = samples.split_at(samples.len() / 4);
    let (second, rest) = later.split_at(later.len() / 3);
    let (_, last) = rest.split_at(rest.len() / 2);
    let grown = |what: &str, second: u64, last: u64, allowed: u64| {
        ensure!(last <= second + allowed, "{what} grows: {second} in the second quarter, {last} in the last");
        Ok(())
    };
    let memory = |samples| highest(samples, |usage| usage.memory);
    let descriptors = |samples: &[(Duration, Usage)]| {
        let mut numbers: Vec<u64> = samples.iter().map(|(_, usage)| usage.descriptors as u64).collect();
        numbers.sort_unstable();
        numbers.get(numbers.len() / 2).copied().unwrap_or_default()
    };
    grown("memory in bytes", memory(second), memory(last), 4 << 20)?;
    // The median, because the number of connections that have ended and are not closed yet varies.
    grown("the number of descriptors", descriptors(second), descriptors(last), peers as u64 / 10)?;
    let (early, late) = (share(second), share(last));
    ensure!(short || late <= 2.0 * early + 20.0, "the processor share grows: {early:.0} % early, {late:.0} % late");
    Ok(format!(
        "memory at most {} in the second quarter, {} in the last; {} descriptors, {}; processor {early:.0} %, \
         {late:.0} %",
        size(memory(second)),
        size(memory(last)),
        descriptors(second),
        descriptors(last),
    ))
}

fn highest(samples: &[(Duration, Usage)], value: impl Fn(&Usage) -> u64) -> u64 {
    samples.iter().map(|(_, usage)| value(usage)).max().unwrap_or_default()
}

/// The share of a processor that the server used from the first sample to the last, in per cent.
fn share(samples: &[(Duration, Usage)]) -> f64 {
    let [(start, first), .., (end, last)] = samples else { return 0.0 };
    last.processor.saturating_sub(first.processor).as_secs_f64() / (*end - *start).as_secs_f64() * 100.0
}

fn curves(samples: &[(Duration, Usage)]) -> [Curve; 3] {
    let curve = |name, value: &dyn Fn(&Usage) -> f64| Curve {
        name,
        points: samples.iter().map(|(time, usage)| (time.as_secs_f64(), value(usage))).collect(),
    };
    let processor = samples.iter().zip(samples.iter().skip(1)).map(|((before, then), (now, usage))| {
        let used = usage.processor.saturating_sub(then.processor).as_secs_f64();
        (now.as_secs_f64(), used / (*now - *before).as_secs_f64() * 100.0)
    });
    [
        curve("resident memory, MiB", &|usage| usage.memory as f64 / 1_048_576.0),
        curve("open descriptors", &|usage| usage.descriptors as f64),
        Curve { name: "processor, %", points: processor.collect() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges a hundred samples, a second apart, each higher than the one before by these.
    fn growth(memory: u64, descriptors: usize, processor: fn(u32) -> Duration) -> Result<String> {
        let sample = |second: u32| {
            let memory = (16 << 20) + memory * u64::from(second);
            let descriptors = 50 + descriptors * second as usize;
            (
                Duration::from_secs(second.into()),
                Usage { memory, peak: memory, descriptors, processor: processor(second), sleeps: 0 },
            )
        };
        no_growth(&(0..100).map(sample).collect::<Vec<_>>(), 400, false)
    }

    const STEADY: fn(u32) -> Duration = |second| Duration::from_millis(100) * second;

    #[test]
    fn a_server_whose_cost_stays_the_same_passes() {
        let figures = growth(0, 0, STEADY).unwrap();
        assert!(figures.contains("16.0 MiB in the last; 50 descriptors, 50; processor 10 %, 10 %"), "{figures}");
    }

    #[test]
    fn growing_memory_descriptors_or_processor_time_fail() {
        for (grown, what) in [
            (growth(200_000, 0, STEADY), "memory"),
            (growth(0, 1, STEADY), "descriptors"),
            (growth(0, 0, |second| Duration::from_secs(second.saturating_sub(75).into())), "processor"),
        ] {
            let error = grown.unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("grows"), "{error}");
        }
    }
}
