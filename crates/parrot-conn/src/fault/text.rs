//! Faults as the command line writes them.

use std::fmt;
use std::time::Duration;

use super::kind::{After, Fault, FaultRule};
use super::share::{Chances, Share};

impl fmt::Display for FaultRule {
    /// The fault as the command line reads it, such as `latency=50ms,jitter=10ms,probability=20%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)?;
        match self.probability {
            Share::ALL => Ok(()),
            probability => write!(f, ",probability={probability}"),
        }
    }
}

impl fmt::Display for Fault {
    /// The fault as the command line reads it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use parrot_conn::fault::Fault;
    ///
    /// let stall = Fault::Stall { after: 10_240, length: Some(Duration::from_secs(3)) };
    /// assert_eq!(stall.to_string(), "stall=10240,for=3s");
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())?;
        match self {
            Fault::Latency { delay, jitter } => {
                write_delays(f, delay)?;
                write_parameter(f, "jitter", *jitter)
            }
            Fault::Bandwidth(rate) => write!(f, "={rate}"),
            Fault::Slice { least, most, delay } => {
                match least == most {
                    true => write!(f, "={least}"),
                    false => write!(f, "={least}..{most}"),
                }?;
                write_parameter(f, "delay", *delay)
            }
            Fault::Timeout(None) => f.write_str("=0"),
            Fault::Timeout(Some(time))
            | Fault::Lifetime(time)
            | Fault::SlowClose(time)
            | Fault::Reset(After::Time(time)) => write!(f, "={time:?}"),
            Fault::LimitData(n) | Fault::Refuse(n) | Fault::Reset(After::Bytes(n)) => write!(f, "={n}"),
            Fault::Stall { after, length } => {
                write!(f, "={after}")?;
                write_parameter(f, "for", length.unwrap_or_default())
            }
            Fault::HalfCloseFirst => Ok(()),
            Fault::AcceptDelay(delay) => write_delays(f, delay),
            Fault::Loss(share) | Fault::Duplicate(share) | Fault::Reorder(share) | Fault::Corrupt(share) => {
                write!(f, "={share}")
            }
        }
    }
}

fn write_delays(f: &mut fmt::Formatter<'_>, delays: &Chances<Duration>) -> fmt::Result {
    let mut separator = '=';
    for (delay, share) in delays.values() {
        match *share {
            Share::ALL => write!(f, "{separator}{delay:?}"),
            share => write!(f, "{separator}{delay:?}:{}", share.to_string().trim_end_matches('%')),
        }?;
        separator = ',';
    }
    Ok(())
}

fn write_parameter(f: &mut fmt::Formatter<'_>, name: &str, value: Duration) -> fmt::Result {
    match value {
        Duration::ZERO => Ok(()),
        value => write!(f, ",{name}={value:?}"),
    }
}
