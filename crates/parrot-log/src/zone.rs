//! The time zone of a log's times.

use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use jiff::tz::TimeZone;

/// The folder of the time zone database, unless TZDIR names another one.
const DATABASE: &str = "/usr/share/zoneinfo";

/// What a POSIX rule may leave out at its end. The C libraries then use the rules of the United States, whatever the
/// abbreviations are (`parse_rule` in time/tzset.c of glibc, TZDEFRULESTRING in localtime.c of tzcode).
const LEFT_OUT: [&str; 4] = ["", ",M3.2.0,M11.1.0", "M3.2.0,M11.1.0", ",M11.1.0"];

/// The zone that TZ names, or without TZ that of the machine. UTC if there is none.
pub(crate) fn local() -> TimeZone {
    match env::var_os("TZ") {
        Some(tz) => named(&tz).unwrap_or(TimeZone::UTC),
        None => TimeZone::system(),
    }
}

/// Checks that TZ is understood if it is set. If it is not understood, the times of a log are in UTC.
///
/// TZ is read as tzset(3) reads it. It is a name in the time zone database, a file, or a rule such as
/// `CET-1CEST,M3.5.0,M10.5.0/3`, and may begin with a colon. An empty TZ is UTC.
///
/// # Errors
///
/// Fails if TZ is none of these. The error quotes its value.
pub fn check_time_zone() -> Result<(), UnknownTimeZone> {
    match env::var_os("TZ") {
        Some(tz) if named(&tz).is_none() => Err(UnknownTimeZone(tz)),
        _ => Ok(()),
    }
}

/// A value of TZ that is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTimeZone(OsString);

impl Error for UnknownTimeZone {}

impl fmt::Display for UnknownTimeZone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TZ={:?} is no time zone here", self.0)
    }
}

/// The zone that this value of TZ names.
fn named(tz: &OsStr) -> Option<TimeZone> {
    let tz = tz.as_bytes();
    let tz = OsStr::from_bytes(tz.strip_prefix(b":").unwrap_or(tz));
    in_database(tz).or_else(|| in_file(tz)).or_else(|| by_rule(tz))
}

fn in_database(name: &OsStr) -> Option<TimeZone> {
    match name.to_str()? {
        "" | "UTC" | "Etc/UTC" | "GMT" => Some(TimeZone::UTC), // also without a database
        name => TimeZone::get(name).ok(),
    }
}

/// The path may be absolute, or lead from the database's folder to a file such as `posix/Europe/Berlin`.
fn in_file(path: &OsStr) -> Option<TimeZone> {
    let folder = env::var_os("TZDIR").filter(|folder| !folder.is_empty()).unwrap_or_else(|| DATABASE.into());
    let path = PathBuf::from(folder).join(path);
    fs::metadata(&path).ok().filter(Metadata::is_file)?; // reading a pipe or a device may never end
    TimeZone::tzif(&path.to_string_lossy(), &fs::read(&path).ok()?).ok()
}

fn by_rule(rule: &OsStr) -> Option<TimeZone> {
    let rule = rule.to_str()?.trim_end();
    LEFT_OUT.iter().find_map(|rest| TimeZone::posix(&format!("{rule}{rest}")).ok())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    /// The offsets in January and July, in minutes.
    fn offsets(tz: &str) -> Option<[i32; 2]> {
        let zone = named(OsStr::new(tz))?;
        Some(
            [1_768_000_000, 1_784_000_000]
                .map(|second| zone.to_offset(Timestamp::from_second(second).unwrap()).seconds() / 60),
        )
    }

    #[test]
    fn rules_are_read_as_the_c_library_reads_them() {
        for (tz, minutes) in [
            ("", [0, 0]),
            (":", [0, 0]),
            ("UTC", [0, 0]),
            ("Etc/UTC", [0, 0]),
            ("UTC0", [0, 0]),
            ("JST-9", [540, 540]),
            ("JST-9 ", [540, 540]),
            ("GMT+5", [-300, -300]),
            ("IST-5:30", [330, 330]),
            ("<+0330>-3:30", [210, 210]),
            ("CET-1CEST,M3.5.0,M10.5.0/3", [60, 120]),
            (":CET-1CEST,M3.5.0,M10.5.0/3", [60, 120]),
            ("CET-1CEST", [60, 120]),
            ("CET-1:30CEST", [90, 150]),
            ("ABC3DEF4", [-180, -240]),
            ("EST5EDT,", [-300, -240]),
            ("EST5EDT,M3.2.0", [-300, -240]),
            ("EST5EDT4,J60,J300", [-300, -240]),
            ("EST5EDT,60/2,300/-3", [-300, -240]),
            ("IST-2IDT,M3.4.4/26,M10.5.0", [120, 180]),
            ("<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", [-180, -120]),
            ("NZST-12:00:00NZDT-13:00:00,M10.1.0,M3.3.0", [780, 720]),
            ("XXX24", [-1440, -1440]),
        ] {
            assert_eq!(offsets(tz), Some(minutes), "{tz:?}");
        }
    }

    #[test]
    fn names_and_files_are_read_as_the_c_library_reads_them() {
        if !PathBuf::from(DATABASE).join("Europe/Berlin").exists() {
            println!("skipped: this machine has no time zone database");
            return;
        }
        let absolute = format!("{DATABASE}/Europe/Berlin");
        let colon = format!(":{absolute}");
        for tz in ["Europe/Berlin", ":Europe/Berlin", "../zoneinfo/Europe/Berlin", &absolute, &colon] {
            assert_eq!(offsets(tz), Some([60, 120]), "{tz:?}");
        }
        let kept = std::env::temp_dir().join(format!("parrot-log-zone-{}", std::process::id()));
        fs::copy(&absolute, &kept).unwrap();
        assert_eq!(offsets(kept.to_str().unwrap()), Some([60, 120]));
        fs::remove_file(&kept).unwrap();
    }

    #[test]
    fn other_values_are_no_time_zone() {
        for tz in [
            "Europe/Berln",
            "Berlin",
            "/usr/share/zoneinfo/Europe/Berln",
            "/etc/passwd",
            "/dev/zero",
            "/",
            "+3",
            "AB3",
            "ABC",
            "CET-1CEST,M13.5.0,M10.5.0",
            "CET-1CEST,M3.5.0,M10.5.0/3 and more",
            "Europe/Berlin\r",
            "\u{fc}",
        ] {
            assert_eq!(offsets(tz), None, "{tz:?}");
        }
        assert!(named(OsStr::from_bytes(b"Europe/\xff")).is_none());
    }
}
