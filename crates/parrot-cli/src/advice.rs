//! What to do next when the server cannot start.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::anyhow;
use parrot_server::BindError;

/// What errno(2) calls EMFILE: this number on Linux, on macOS and on each of the BSDs.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// Why the server could not be bound, and what would help.
pub(crate) fn cannot_bind(error: BindError) -> anyhow::Error {
    match error.address().and_then(|address| for_address(address, error.kind())) {
        Some(advice) => with_advice(error, &advice),
        None => error.into(),
    }
}

/// Why the log could not be opened, and what would help.
pub(crate) fn cannot_log(error: io::Error, path: Option<&Path>) -> anyhow::Error {
    let advice = match path {
        Some(_) if error.kind() == ErrorKind::BrokenPipe => {
            "start its reader first, or choose another file with --log-file"
        }
        Some(_) => "choose another file with --log-file, or leave that out to log to stdout",
        None => "--log off goes without a log",
    };
    let what = path.map_or("stdout".into(), |path| path.display().to_string());
    let error = anyhow::Error::new(error).context(format!("cannot log to {what}"));
    if lacks_descriptors(&error) { error } else { with_advice(error, advice) }
}

/// The same error, with what would help if descriptors are what it lacks: anything can fail for that.
pub(crate) fn on_descriptors(error: anyhow::Error) -> anyhow::Error {
    if !lacks_descriptors(&error) {
        return error;
    }
    with_advice(error, "the limit of descriptors is too low: 16 serve a few connections, `ulimit -n 1024` a thousand")
}

fn lacks_descriptors(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.raw_os_error() == Some(TOO_MANY_OPEN_FILES))
}

/// What went wrong, and on a line of its own what to do next.
fn with_advice(error: impl Into<anyhow::Error>, advice: &str) -> anyhow::Error {
    anyhow!("{:#}\n{advice}", error.into())
}

fn for_address(address: SocketAddr, kind: ErrorKind) -> Option<String> {
    let (ip, port) = (address.ip(), address.port());
    match kind {
        ErrorKind::AddrInUse => Some(format!(
            "port {port} is taken: stop what listens there ({} shows it), or choose another with --port \
             (0 finds a free one)",
            who_listens(port)
        )),
        ErrorKind::PermissionDenied if (1..1024).contains(&port) => Some(format!(
            "port {port} is privileged: choose one from 1024 up with --port, or start as a user who may have it"
        )),
        ErrorKind::AddrNotAvailable => Some(format!(
            "{ip} is not an address of this machine: choose one of those that {} lists with --bind, or leave that out \
             to listen on all",
            if cfg!(target_os = "linux") { "`ip address`" } else { "`ifconfig`" }
        )),
        _ => None,
    }
}

/// The command that shows who listens on a port.
fn who_listens(port: u16) -> String {
    if cfg!(target_os = "linux") {
        format!("`ss -ltnp sport = :{port}`")
    } else if cfg!(target_os = "macos") {
        format!("`lsof -nP -iTCP:{port} -sTCP:LISTEN`")
    } else if cfg!(target_os = "openbsd") {
        format!("`fstat | grep :{port}`")
    } else {
        format!("`sockstat -l -p {port}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ordinary_failure_has_its_advice() {
        let low: SocketAddr = "0.0.0.0:80".parse().unwrap();
        for (kind, advice) in [
            (ErrorKind::AddrInUse, "port 80 is taken"),
            (ErrorKind::PermissionDenied, "port 80 is privileged"),
            (ErrorKind::AddrNotAvailable, "0.0.0.0 is not an address of this machine"),
        ] {
            assert!(for_address(low, kind).unwrap().starts_with(advice), "{kind}");
        }
    }

    #[test]
    fn a_lack_of_descriptors_is_recognised_wherever_it_comes_from() {
        let lack = || io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES);
        let log = cannot_log(lack(), Some(Path::new("/tmp/log")));
        for error in [log, cannot_log(lack(), None), anyhow::Error::new(lack()).context("the event queue failed")] {
            let text = format!("{:#}", on_descriptors(error));
            assert_eq!(text.matches("ulimit -n").count(), 1, "{text}");
            assert_eq!(text.lines().count(), 2, "{text}");
        }
        let other = io::Error::from(ErrorKind::NotFound);
        assert!(!format!("{:#}", on_descriptors(other.into())).contains("ulimit"));
    }

    #[test]
    fn what_is_not_understood_gets_no_advice() {
        let high: SocketAddr = "[::1]:1512".parse().unwrap();
        assert_eq!(for_address(high, ErrorKind::PermissionDenied), None);
        assert_eq!(for_address(high, ErrorKind::OutOfMemory), None);
        let any: SocketAddr = "[::1]:0".parse().unwrap();
        assert_eq!(for_address(any, ErrorKind::PermissionDenied), None, "port 0 is not privileged");
    }
}
