//! What must hold of any command line. The fuzz target feeds new inputs to this check, a test the corpus.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;

use clap::error::ErrorKind;
use parrot_values::{Address, Endpoint, Host, UnixPlace, endpoint};

use crate::arguments::{Arguments, parse_with_file, reason};
use crate::diagnostics::Filter;
use crate::listening::ListenArgument;

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
    let parsed = Arguments::parse_line(std::iter::once(program).chain(lines), false);
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

/// Parses a file of options. The first line of an input is an argument of the command line, and the rest is the file.
///
/// # Panics
///
/// Panics if the file is neither accepted with consistent values nor refused with a reason of one line.
#[doc(hidden)]
pub fn check_config_file(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (argument, text) = input.split_once('\n').unwrap_or(("", input));
    let line = ["parrot", argument].into_iter().filter(|argument| !argument.is_empty()).map(OsString::from);
    match parse_with_file(line.collect(), text) {
        Ok(arguments) => check_accepted(&arguments),
        Err(error) => {
            check_refused(&error);
            let reason = reason(&error);
            assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
        }
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
        check_address(address, &text);
        let beside = addresses().filter(|other| other.is_ipv4() == address.is_ipv4() && *other != address);
        assert!(!address.is_unspecified() || beside.count() == 0, "a wildcard address leaves no other");
    }
    for argument in &arguments.listen {
        check_place(argument);
        let same = |other: &&ListenArgument| other.endpoint == argument.endpoint && *other != argument;
        let other = arguments.listen.iter().find(same);
        assert!(argument.has_any_port() || other.is_none(), "a place is listened on in one way");
    }
    check_options_for(arguments);
    assert!(arguments.ready_file.is_none() || arguments.ready_file != arguments.log_file);
}

/// What holds for a place of `--listen`.
fn check_place(argument: &ListenArgument) {
    let ListenArgument { endpoint: place, proxy, .. } = argument;
    match place {
        Endpoint::Tcp(Host::Address(address), _) => check_address(address.ip(), &address.to_string()),
        Endpoint::Udp(host, _) => {
            assert!(!proxy, "datagrams have no header");
            if let Host::Address(address) = host {
                check_address(address.ip(), &address.to_string());
            }
        }
        Endpoint::Unix(place) => assert!(place.address().is_ok(), "a socket can be there"),
        Endpoint::Tcp(..) => {}
    }
    assert_eq!(endpoint(&place.to_string()).as_ref(), Ok(place), "a place is shown as it is written");
}

/// Options for one kind of listener come with one.
fn check_options_for(arguments: &Arguments) {
    let places = || arguments.listen.iter().map(|argument| &argument.endpoint);
    let udp = places().any(|place| matches!(place, Endpoint::Udp(..)));
    let mut files = places().chain(arguments.admin().map(|(place, _)| place));
    let unix = files.any(|place| matches!(place, Endpoint::Unix(UnixPlace::Path(_))));
    let proxy = arguments.proxy_protocol || arguments.listen.iter().any(|argument| argument.proxy);
    assert!(udp || (arguments.udp_rate.is_none() && !arguments.udp_answer_low_ports));
    assert!(unix || arguments.unix_mode.is_none());
    assert!(proxy || (arguments.proxy_from.is_empty() && arguments.proxy_timeout.is_none()));
}

fn check_address(address: IpAddr, text: &str) {
    assert!(!address.is_multicast());
    if let IpAddr::V6(address) = address {
        assert_eq!(address.to_ipv4_mapped(), None);
        assert!(!address.is_unicast_link_local() || text.contains('%'), "a link-local address has its interface");
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
    /// Checks every input in a folder of the corpus, of which there are more than `least`.
    fn check_corpus(folder: &str, least: usize, check: fn(&[u8])) {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(folder);
        let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(inputs.len() > least, "{} inputs", inputs.len());
        for input in inputs {
            check(&std::fs::read(input).unwrap());
        }
    }

    #[test]
    fn every_command_line_of_the_corpus_passes() {
        check_corpus("command_line", 100, super::check_command_line);
    }

    #[test]
    fn every_config_file_of_the_corpus_passes() {
        check_corpus("config_file", 10, super::check_config_file);
    }
}
