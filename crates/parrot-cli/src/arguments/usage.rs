//! Wrong usage that no option shows alone: options that contradict each other, need one another or have no effect.

use std::path::{self, Path, PathBuf};

use clap::CommandFactory;
use clap::error::ErrorKind;
use parrot_server::Limits;
use parrot_values::{Endpoint, UnixPlace};

use super::{Arguments, LogFormat};
use crate::faults;
use crate::listening;

/// The most bytes of a datagram (RFC 768, RFC 791).
const LONGEST_DATAGRAM: usize = 65_507;

/// Finds the first mistake. `passed` says whether a service manager may have passed sockets, which can be of any kind.
///
/// # Errors
///
/// The mistake, with what to do about it.
pub(super) fn check(arguments: &Arguments, passed: bool) -> Result<(), clap::Error> {
    let mistake = |kind, advice| Err(Arguments::command().error(kind, advice));
    if let Some(advice) = listening::conflict(arguments) {
        return mistake(ErrorKind::ArgumentConflict, advice);
    }
    if let Some(advice) = without_effect(arguments, passed) {
        return mistake(ErrorKind::MissingRequiredArgument, advice.to_owned());
    }
    if let Some(conflict) = faults::conflict(&arguments.fault) {
        return mistake(ErrorKind::ArgumentConflict, format!("--fault {conflict}"));
    }
    if let Some(advice) = faults::without_effect(arguments, passed) {
        return mistake(ErrorKind::MissingRequiredArgument, advice);
    }
    if let Some(advice) = without_name(arguments) {
        return mistake(ErrorKind::InvalidValue, advice.to_owned());
    }
    if let Some(advice) = shared_file(arguments) {
        return mistake(ErrorKind::ArgumentConflict, advice);
    }
    if let Some(advice) = long_prefix(arguments) {
        return mistake(ErrorKind::InvalidValue, advice);
    }
    if arguments.log == LogFormat::Off && arguments.log_file.is_some() {
        let advice = "--log off writes no log, so leave out one of --log off and --log-file";
        return mistake(ErrorKind::ArgumentConflict, advice.to_owned());
    }
    Ok(())
}

/// An option for something that the server does not do with the other options.
fn without_effect(arguments: &Arguments, passed: bool) -> Option<&'static str> {
    let listens_on = |is: fn(&Endpoint) -> bool| arguments.listen.iter().any(|listen| is(&listen.endpoint));
    let is_file = |place: &Endpoint| matches!(place, Endpoint::Unix(UnixPlace::Path(_)));
    let unix = passed || listens_on(is_file) || arguments.admin().is_some_and(|(place, _)| is_file(place));
    let udp = passed || listens_on(|place| matches!(place, Endpoint::Udp(..)));
    // No passed socket expects a header unless --proxy-protocol says so.
    let proxy = arguments.proxy_protocol || arguments.listen.iter().any(|listen| listen.proxy);
    let options = [
        (
            arguments.unix_mode.is_some() && !unix,
            "--unix-mode is for the files of Unix sockets, so add --listen unix:PATH or leave it out",
        ),
        (
            arguments.udp_rate.is_some() && !udp,
            "--udp-rate is for datagrams, so add --listen udp:HOST:PORT or leave it out",
        ),
        (
            arguments.udp_answer_low_ports && !udp,
            "--udp-answer-low-ports is for datagrams, so add --listen udp:HOST:PORT or leave it out",
        ),
        (
            !arguments.proxy_from.is_empty() && !proxy,
            "--proxy-from is for PROXY headers, so add --proxy-protocol or ,proxy behind a place to listen on",
        ),
        (
            arguments.proxy_timeout.is_some() && !proxy,
            "--proxy-timeout is for PROXY headers, so add --proxy-protocol or ,proxy behind a place to listen on",
        ),
    ];
    options.into_iter().find_map(|(is_useless, advice)| is_useless.then_some(advice))
}

/// `-` is refused as a file because it means stdout to many programs.
fn without_name(arguments: &Arguments) -> Option<&'static str> {
    let is_dash = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    if is_dash(&arguments.log_file) {
        Some("leave out --log-file to log to stdout, or write ./- for a file of that name")
    } else if is_dash(&arguments.ready_file) {
        Some("write ./- for a --ready-file of that name; the addresses are on stderr in any case")
    } else {
        None
    }
}

/// Two options for the same file. A link to it is not noticed.
fn shared_file(arguments: &Arguments) -> Option<String> {
    // Without the current directory, or without a name, the path stands for itself.
    let file = |path: &PathBuf| path::absolute(path).unwrap_or_else(|_| path.clone());
    let ready = file(arguments.ready_file.as_ref()?);
    let other = if arguments.log_file.as_ref().map(file) == Some(ready.clone()) {
        "--log-file".to_owned()
    } else {
        let listen = arguments.listen.iter().map(|listen| (&listen.endpoint, format!("--listen {listen}")));
        let is_ready_file = |(place, _): &(&Endpoint, String)| match place {
            Endpoint::Unix(UnixPlace::Path(path)) => file(path) == ready,
            _ => false,
        };
        listen.chain(arguments.admin()).find(is_ready_file)?.1
    };
    Some(format!("--ready-file and {other} are the same file, so choose another for one of them"))
}

/// A prefix that leaves no room for a message in its buffer. Placeholders can make a short text long.
fn long_prefix(arguments: &Arguments) -> Option<String> {
    let longest = arguments.prefix.as_ref()?.longest();
    let udp = arguments.listen.iter().any(|listen| matches!(listen.endpoint, Endpoint::Udp(..)));
    let room = if udp { LONGEST_DATAGRAM + 1 } else { Limits::default().max_output };
    (longest >= room).then(|| {
        format!("--prefix can become {longest} bytes long, and with a message it must fit into {room}, so shorten it")
    })
}
