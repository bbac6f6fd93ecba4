//! What must hold of any command line. The fuzz target feeds new inputs to this check, a test the corpus.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;

use clap::Parser as _;
use clap::error::ErrorKind;
use parrot_values::Address;

use crate::arguments::Arguments;
use crate::diagnostics::Filter;

/// Parses a command line and RUST_LOG. The first line of an input is RUST_LOG, and every further line is an argument.
///
/// # Panics
///
/// Panics if the command line is neither accepted with consistent values nor refused with the right exit code.
#[doc(hidden)]
pub fn check_command_line(input: &[u8]) {
    let mut lines = input.split(|&byte| byte == b'\n').map(OsStr::from_bytes);
    let rust_log = lines.next().and_then(OsStr::to_str);
    let program = OsStr::new("parrot");
    let parsed = Arguments::try_parse_from(std::iter::once(program).chain(lines)).and_then(Arguments::checked);
    let (verbose, quiet) = match parsed {
        Ok(arguments) => {
            check_accepted(&arguments);
            (arguments.verbose, arguments.quiet)
        }
        Err(error) => {
            check_refused(&error);
            (0, 0)
        }
    };
    let filter = Filter::new(rust_log, verbose, quiet, true);
    if let Some(error) = filter.ignored {
        assert!(!error.to_string().is_empty());
    }
}

/// What the rest of the program relies on.
fn check_accepted(arguments: &Arguments) {
    assert!(arguments.idle_timeout.is_none_or(|idle| !idle.is_zero()));
    assert!(arguments.verbose == 0 || arguments.quiet == 0);
    assert!(arguments.max_buffered.is_none_or(|most| isize::try_from(most).is_ok()));
    assert!(arguments.log_payload <= parrot_log::MAX_PAYLOAD);
    let addresses = || arguments.bind.iter().map(Address::ip);
    for (address, text) in addresses().zip(arguments.bind.iter().map(Address::to_string)) {
        assert!(!address.is_multicast());
        let beside = addresses().filter(|other| other.is_ipv4() == address.is_ipv4() && *other != address);
        assert!(!address.is_unspecified() || beside.count() == 0, "a wildcard address leaves no other");
        if let IpAddr::V6(address) = address {
            assert_eq!(address.to_ipv4_mapped(), None);
            assert!(!address.is_unicast_link_local() || text.contains('%'), "a link-local address has its interface");
        }
    }
}

/// Help and version go to stdout and are no failure. Everything else is wrong usage.
fn check_refused(error: &clap::Error) {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    assert_eq!(error.exit_code(), if asked_for { 0 } else { 2 }, "{error}");
    assert_eq!(error.use_stderr(), !asked_for, "{error}");
    assert!(!error.to_string().trim().is_empty());
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_line_of_the_corpus_passes() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/command_line");
        let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(inputs.len() > 100, "{} inputs", inputs.len());
        for input in inputs {
            super::check_command_line(&std::fs::read(input).unwrap());
        }
    }
}
