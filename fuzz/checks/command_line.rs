//! Any arguments: they are understood, or the exit code says why not, and nothing panics on the way.
//!
//! The fuzz target feeds this with new inputs; a test of parrot-cli feeds it with the corpus.
#![allow(clippy::expect_used, clippy::panic, unreachable_pub)]

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::arguments::Arguments;
use crate::diagnostics::Filter;

/// The first line of an input is RUST_LOG, and every further line is an argument.
pub fn check(input: &[u8]) {
    let mut lines = input.split(|&byte| byte == b'\n').map(OsStr::from_bytes);
    let rust_log = lines.next().and_then(OsStr::to_str);
    let program = OsStr::new("parrot");
    let parsed = Arguments::try_parse_from(std::iter::once(program).chain(lines)).and_then(Arguments::checked);
    let (verbose, quiet) = match parsed {
        Ok(arguments) => {
            understood(&arguments);
            (arguments.verbose, arguments.quiet)
        }
        Err(error) => {
            refused(&error);
            (0, 0)
        }
    };
    let filter = Filter::new(rust_log, verbose, quiet, true);
    if let Some(error) = filter.ignored {
        assert!(!error.to_string().is_empty());
    }
}

/// What the rest of the program takes for granted.
fn understood(arguments: &Arguments) {
    assert!(arguments.idle_timeout.is_none_or(|idle| !idle.is_zero()));
    assert!(arguments.verbose == 0 || arguments.quiet == 0);
    assert!(isize::try_from(arguments.max_buffered).is_ok());
    assert!(arguments.log_payload <= parrot_log::MAX_PAYLOAD);
    for address in &arguments.bind {
        assert!(!address.is_multicast());
        let beside = arguments.bind.iter().filter(|other| other.is_ipv4() == address.is_ipv4() && *other != address);
        assert!(!address.is_unspecified() || beside.count() == 0, "a wildcard address leaves no other");
        if let IpAddr::V6(address) = address {
            assert_eq!(address.to_ipv4_mapped(), None);
            assert!(!address.is_unicast_link_local());
        }
    }
}

/// Help and version are no failure and go to stdout; everything else is wrong usage.
fn refused(error: &clap::Error) {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    assert_eq!(error.exit_code(), if asked_for { 0 } else { 2 }, "{error}");
    assert_eq!(error.use_stderr(), !asked_for, "{error}");
    assert!(!error.to_string().trim().is_empty());
}
