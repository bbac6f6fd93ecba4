//! Durations, sizes and counts.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;

/// Reads a duration such as `5s`, `1m 30s` or `500ms`.
///
/// # Errors
///
/// The right form, if the text is no duration or a negative one.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    let duration: SignedDuration = text.parse().map_err(|_| "expected a duration such as 5s, 1m 30s or 500ms")?;
    duration.try_into().map_err(|_| "a duration cannot be negative")
}

/// Reads a size in bytes such as `256MiB`, `64KiB` or `4096`.
///
/// # Errors
///
/// The right form, if the text is no size or more than the machine can address.
pub fn size(text: &str) -> Result<usize, &'static str> {
    let size: ByteSize = text.parse().map_err(|_| "expected a size such as 256MiB, 64KiB or 4096")?;
    // A number that is too large for `ByteSize` has become its maximum. No machine can address more than `isize::MAX`.
    let addressable = isize::try_from(size.as_u64()).ok().and_then(|size| usize::try_from(size).ok());
    addressable.ok_or("this is more than the machine can address")
}

/// A reader of whole numbers from `least` up.
///
/// # Errors
///
/// The reader's error is the right form, if the text is no such number.
pub fn count<N>(least: N) -> impl Fn(&str) -> Result<N, String> + Clone
where
    N: FromStr + PartialOrd + Display + Clone,
{
    move |text| match text.parse::<N>() {
        Ok(number) if number >= least => Ok(number),
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Err("too large".to_owned()),
        _ => Err(format!("expected a whole number from {least} up")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_several_notations() {
        for (text, milliseconds) in [("0s", 0), ("5s", 5000), ("1m 30s", 90_000), ("500ms", 500), ("PT2H", 7_200_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "soon", "-5s", "5s ago", "1x", "9999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("64KiB", 65_536), ("1 MiB", 1 << 20), ("1kB", 1000)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "many", "-1", "1XiB", "MiB", "8EiB", "99999EiB", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_whole_numbers_from_the_least_up() {
        let (positive, any) = (count::<u64>(1), count::<usize>(0));
        assert_eq!((positive("1"), any("0"), any("1512")), (Ok(1), Ok(0), Ok(1512)));
        for text in ["0", "-1", "", "1.5", "1e3", "two", " 1"] {
            assert_eq!(positive(text), Err("expected a whole number from 1 up".to_owned()), "{text}");
        }
        assert_eq!(positive("99999999999999999999"), Err("too large".to_owned()));
    }
}
