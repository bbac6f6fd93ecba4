//! Faults, as `--fault` names them.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use parrot_conn::fault::{After, Chances, Fault, FaultKind, FaultPlan, FaultRule, Share};

use crate::quantity::{count, duration, size};

/// Reads a fault such as `latency=50ms,jitter=10ms`, `slice=1..7,delay=1ms` or `reset=10KiB,probability=20%`.
///
/// | fault | value | more |
/// |---|---|---|
/// | `latency` | a duration, or several with their shares, such as `50ms:80,2s:20` | `jitter=DURATION` |
/// | `bandwidth` | a size per second | |
/// | `slice` | a size, or a range such as `1..7` | `delay=DURATION` |
/// | `limit-data` | a size | |
/// | `timeout` | a duration, `0` for no end | |
/// | `lifetime`, `slow-close` | a duration | |
/// | `reset` | a size or a duration, `0` for at once | |
/// | `stall` | a size | `for=DURATION` |
/// | `half-close-first` | none | |
/// | `refuse` | a number of connections | |
/// | `accept-delay` | as `latency` | |
/// | `loss`, `duplicate`, `reorder`, `corrupt` | a percentage | |
///
/// A fault of connections also takes `probability=PERCENTAGE`, except for `refuse`. A text is one fault. Whether
/// several go together is for a [`FaultPlan`] to say.
///
/// # Errors
///
/// What is wrong and the right form, if the text is no fault or one that makes no sense.
pub fn fault(text: &str) -> Result<FaultRule, String> {
    let parts = Parts::of(text)?;
    let rule = FaultRule { fault: parts.fault()?, probability: parts.probability()? };
    FaultPlan::new(0, [rule.clone()]).map_err(|conflict| conflict.to_string())?;
    Ok(rule)
}

/// A fault's text, taken apart.
#[derive(Debug)]
struct Parts<'a> {
    kind: FaultKind,
    /// What stands behind the `=` of the fault, if one does.
    value: Option<Vec<&'a str>>,
    parameters: Vec<(&'static str, &'a str)>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Parts<'a>, String> {
        let mut pieces = text.split(',');
        let first = pieces.next().unwrap_or_default();
        let (name, value) = match first.split_once('=') {
            Some((name, value)) => (name, Some(vec![value])),
            None => (first, None),
        };
        let kind = kind(name).ok_or_else(|| format!("there is no fault {name:?}: expected {}", names()))?;
        let mut parts = Parts { kind, value, parameters: Vec::new() };
        for piece in pieces {
            match (piece.split_once('='), &mut parts.value) {
                (Some((name, value)), _) => parts.add_parameter(name, value)?,
                (None, Some(values)) if parts.parameters.is_empty() => values.push(piece),
                (None, _) => parts.add_parameter(piece, "")?,
            }
        }
        Ok(parts)
    }

    fn add_parameter(&mut self, name: &str, value: &'a str) -> Result<(), String> {
        let kind = self.kind;
        let all = parameters(kind);
        let Some(name) = all.iter().copied().find(|known| *known == name) else {
            return Err(match (self::kind(name), all) {
                (Some(other), _) => format!("{other} is a fault of its own: give it separately from {kind}"),
                (None, []) => format!("{kind} has no {name:?} and nothing else behind its value"),
                (None, all) => format!("{kind} has no {name:?}: expected {}", all.join(" or ")),
            });
        };
        if self.parameter(name).is_some() {
            return Err(format!("{kind} has {name} twice"));
        }
        self.parameters.push((name, value));
        Ok(())
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn probability(&self) -> Result<Share, String> {
        self.parameter("probability").map_or(Ok(Share::ALL), |text| named("probability", text, percentage))
    }

    fn fault(&self) -> Result<Fault, String> {
        Ok(match self.kind {
            FaultKind::Latency => Fault::Latency { delay: self.delays()?, jitter: self.time("jitter")? },
            FaultKind::Bandwidth => Fault::Bandwidth(self.value(|text| {
                NonZeroU64::new(size(text)? as u64).ok_or_else(|| "expected a size above zero".to_owned())
            })?),
            FaultKind::Slice => {
                let (least, most) = self.value(range)?;
                Fault::Slice { least, most, delay: self.time("delay")? }
            }
            FaultKind::LimitData => Fault::LimitData(self.value(bytes)?),
            FaultKind::Timeout => Fault::Timeout(Some(self.value(time)?).filter(|time| !time.is_zero())),
            FaultKind::Lifetime => Fault::Lifetime(self.value(time)?),
            FaultKind::Reset => Fault::Reset(self.value(after)?),
            FaultKind::Stall => {
                let length = self.parameter("for").map(|text| named("for", text, time)).transpose()?;
                Fault::Stall { after: self.value(bytes)?, length }
            }
            FaultKind::SlowClose => Fault::SlowClose(self.value(time)?),
            FaultKind::HalfCloseFirst => match self.value {
                None => Fault::HalfCloseFirst,
                Some(_) => return Err(format!("{} has no value", self.kind)),
            },
            FaultKind::Refuse => Fault::Refuse(self.value(count(1_u64))?),
            FaultKind::AcceptDelay => Fault::AcceptDelay(self.delays()?),
            FaultKind::Loss => Fault::Loss(self.value(percentage)?),
            FaultKind::Duplicate => Fault::Duplicate(self.value(percentage)?),
            FaultKind::Reorder => Fault::Reorder(self.value(percentage)?),
            FaultKind::Corrupt => Fault::Corrupt(self.value(percentage)?),
            kind => return Err(format!("{kind} cannot be given as text")),
        })
    }

    /// The one value of a fault that has one.
    fn value<T>(&self, read: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
        match self.value.as_deref() {
            Some([text]) => named(self.kind.as_str(), text, read),
            Some([_, second, ..]) => Err(format!("{} has one value: leave {second:?} out", self.kind)),
            _ => named(self.kind.as_str(), "", read),
        }
    }

    /// A duration in every case, or several with their shares.
    fn delays(&self) -> Result<Chances<Duration>, String> {
        let name = self.kind.as_str();
        let values = self.value.as_deref().unwrap_or_default();
        if !values.iter().any(|value| value.contains(':')) {
            return self.value(time).map(Chances::always);
        }
        let weighted = |text: &&str| match text.rsplit_once(':') {
            Some((time, share)) => Ok((named(name, time, self::time)?, named(name, share, percentage_or_number)?)),
            None => Err(format!("{name} needs a share for {text:?}, such as {text}:20")),
        };
        let values = values.iter().map(weighted).collect::<Result<Vec<_>, String>>()?;
        Chances::new(values).ok_or_else(|| format!("the shares of {name} are more than 100% in all"))
    }

    /// A parameter that is a duration, and zero if it is not given.
    fn time(&self, name: &str) -> Result<Duration, String> {
        self.parameter(name).map_or(Ok(Duration::ZERO), |text| named(name, text, time))
    }
}

fn kind(name: &str) -> Option<FaultKind> {
    FaultKind::ALL.into_iter().find(|kind| kind.as_str() == name)
}

/// What can stand behind a fault's value.
fn parameters(kind: FaultKind) -> &'static [&'static str] {
    match kind {
        FaultKind::Latency => &["jitter", "probability"],
        FaultKind::Slice => &["delay", "probability"],
        FaultKind::Stall => &["for", "probability"],
        kind if kind.has_probability() => &["probability"],
        _ => &[],
    }
}

fn names() -> String {
    let names = FaultKind::ALL.map(FaultKind::as_str);
    match names.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Reads what stands behind a name, which the error says.
fn named<T>(name: &str, text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
    read(text).map_err(|error| format!("{name}={text}: {error}"))
}

/// A duration, or `0` without a unit.
fn time(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { duration(text).map_err(str::to_owned) }
}

fn bytes(text: &str) -> Result<u64, String> {
    size(text).map(|size| size as u64).map_err(str::to_owned)
}

/// A duration comes first, because `5m` are minutes here and not megabytes.
fn after(text: &str) -> Result<After, String> {
    let time = duration(text).map(After::Time);
    time.or_else(|_| bytes(text).map(After::Bytes))
        .map_err(|_| "expected a size or a duration, such as 10KiB or 5s".to_owned())
}

/// A size, or a range of sizes such as `1..7`.
fn range(text: &str) -> Result<(NonZeroU32, NonZeroU32), String> {
    let read = |text: &str| {
        let size = size(text).ok().and_then(|size| u32::try_from(size).ok()).and_then(NonZeroU32::new);
        size.ok_or_else(|| "expected a size from 1 up or a range, such as 1 or 1..7".to_owned())
    };
    match text.split_once("..") {
        Some((least, most)) => Ok((read(least)?, read(most.strip_prefix('=').unwrap_or(most))?)),
        None => read(text).map(|size| (size, size)),
    }
}

/// A percentage such as `20%`. The sign is needed, because toxiproxy would write this share as `0.2`.
fn percentage(text: &str) -> Result<Share, String> {
    let number = text.strip_suffix('%').and_then(share);
    number.ok_or_else(|| "expected a percentage up to 100%, such as 20% or 0.5%".to_owned())
}

/// A percentage, whose sign can be left out as in fortio.
fn percentage_or_number(text: &str) -> Result<Share, String> {
    let number = share(text.strip_suffix('%').unwrap_or(text));
    number.ok_or_else(|| "expected a share of up to 100, such as 80 or 0.5".to_owned())
}

/// A number of percent, with up to four decimals.
fn share(text: &str) -> Option<Share> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 4 {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let decimals: u32 = format!("{decimals:0<4}").parse().ok()?;
    Share::from_millionths(whole.checked_mul(10_000)?.checked_add(decimals)?)
}

#[cfg(test)]
mod tests;
