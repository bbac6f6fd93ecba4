//! Releases of NetBSD whose kqueue loses events.

use crate::failure::Failure;

/// Refuses releases before 10. Their EV_ENABLE does not run the filter, so whatever became ready while a registration
/// was disabled is never reported (kqueue_register in sys/kern/kern_event.c of NetBSD 9). Their timers know only
/// relative milliseconds, end up to a tick early and are not restarted by adding them again.
///
/// A release that does not begin with a number is not refused.
pub(crate) fn check(release: &str) -> Result<(), Failure> {
    let end = release.find(|next: char| !next.is_ascii_digit()).unwrap_or(release.len());
    match release.get(..end).map(str::parse::<u32>) {
        Some(Ok(..10)) => Err(Failure::Unsupported(
            "NetBSD before 10 loses events of registrations that were disabled, so upgrade to NetBSD 10 or later",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn releases_before_10_are_refused() {
        for release in ["9.0", "9.3_STABLE", "9.99.108", "9", "9_BETA", "8.2", "1.6.2", "09.4", "0.8"] {
            let error = io::Error::from(check(release).unwrap_err());
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert!(error.to_string().contains("NetBSD 10 or later"), "{error}");
        }
    }

    #[test]
    fn releases_from_10_on_are_accepted() {
        for release in ["10.0", "10.0_RC1", "10.0_BETA", "10.1_STABLE", "10.99.12", "10", "11.0", "100.9"] {
            assert!(check(release).is_ok(), "{release}");
        }
    }

    #[test]
    fn a_release_that_is_not_understood_is_accepted() {
        for release in ["", "nonsense", "current", ".9", "-9.0", " 9.0", "v9", "99999999999999999999.0", "\u{663}.1"] {
            assert!(check(release).is_ok(), "{release}");
        }
    }
}
