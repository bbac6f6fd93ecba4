//! Error messages with a next step, for a server that cannot start.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use anyhow::anyhow;
use parrot_server::{ActivationError, BindError, LocalAddress};

/// EMFILE of errno(2), which is this number on all supported systems.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// Adds the next step to an error of binding.
pub(crate) fn cannot_bind(error: BindError) -> anyhow::Error {
    let kind = error.kind();
    let advice = match error.address() {
        Some(LocalAddress::Tcp(address)) => for_address(*address, kind, "-lt"),
        Some(LocalAddress::Udp(address)) => for_address(*address, kind, "-lu"),
        Some(LocalAddress::Unix(path)) => for_path(path, kind),
        Some(LocalAddress::UnixAbstract(_)) if kind == ErrorKind::AddrInUse => {
            Some("another program has this name (`ss -lx` shows it), so stop it or choose another name".to_owned())
        }
        _ => None,
    };
    match advice {
        Some(advice) => with_advice(error, &advice),
        None => error.into(),
    }
}

/// Adds the next step to an error of the sockets that a service manager has passed.
pub(crate) fn cannot_activate(error: ActivationError) -> anyhow::Error {
    let advice = match error {
        ActivationError::NoProcess => {
            "set LISTEN_PID to the process id of parrot, as in `LISTEN_PID=$$ exec parrot`, or unset LISTEN_FDS"
        }
        ActivationError::Connection(_) => "use Accept=no in the socket unit, because parrot accepts connections itself",
        ActivationError::Unfit(..) => {
            "parrot serves ListenStream= with an address, port or path, and ListenDatagram= with an address or port"
        }
        _ => "a service manager sets them as sd_listen_fds(3) says; unset LISTEN_FDS to start without one",
    };
    with_advice(anyhow::Error::new(error).context("cannot use the sockets that were passed"), advice)
}

/// Adds the next step to an error of writing the file of `--ready-file`.
pub(crate) fn cannot_write_ready_file(error: io::Error, path: &Path) -> anyhow::Error {
    let error = anyhow::Error::new(error).context(format!("cannot write {}", path.display()));
    with_advice(error, "choose another file with --ready-file, or leave it out")
}

/// Adds the next step to an error of opening the log.
pub(crate) fn cannot_log(error: io::Error, path: Option<&Path>) -> anyhow::Error {
    let advice = match path {
        Some(_) if error.kind() == ErrorKind::BrokenPipe => {
            "start its reader first, or choose another file with --log-file"
        }
        Some(_) => "choose another file with --log-file, or leave it out to log to stdout",
        None => "use --log off to run without a log",
    };
    let what = path.map_or("stdout".into(), |path| path.display().to_string());
    let error = anyhow::Error::new(error).context(format!("cannot log to {what}"));
    if ran_out_of_descriptors(&error) { error } else { with_advice(error, advice) }
}

/// Adds the next step to any error caused by running out of descriptors.
pub(crate) fn on_descriptors(error: anyhow::Error) -> anyhow::Error {
    if !ran_out_of_descriptors(&error) {
        return error;
    }
    with_advice(error, "raise the limit of descriptors: 16 serve a few connections, `ulimit -n 1024` a thousand")
}

fn ran_out_of_descriptors(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.raw_os_error() == Some(TOO_MANY_OPEN_FILES))
}

/// The error, and on a line of its own the next step.
fn with_advice(error: impl Into<anyhow::Error>, advice: &str) -> anyhow::Error {
    anyhow!("{:#}\n{advice}", error.into())
}

fn for_address(address: SocketAddr, kind: ErrorKind, listeners: &str) -> Option<String> {
    let (ip, port) = (address.ip(), address.port());
    match kind {
        ErrorKind::AddrInUse => Some(format!(
            "port {port} is taken, so stop the program that listens there ({} shows it) or choose another port (0 finds a \
             free one)",
            command_showing_listeners(port, listeners)
        )),
        ErrorKind::PermissionDenied if (1..1024).contains(&port) => {
            Some(format!("port {port} is privileged, so choose one from 1024 up or start as a user who may use it"))
        }
        ErrorKind::AddrNotAvailable => Some(format!(
            "{ip} is not an address of this {}, so choose an address that {} lists",
            if matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0) { "interface" } else { "machine" },
            if cfg!(target_os = "linux") { "`ip address`" } else { "`ifconfig`" }
        )),
        _ => None,
    }
}

fn for_path(path: &Path, kind: ErrorKind) -> Option<String> {
    match kind {
        ErrorKind::AddrInUse => Some("another server listens there, so stop it or choose another path".to_owned()),
        ErrorKind::AlreadyExists => Some("choose another path, or remove the file if nobody needs it".to_owned()),
        ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(path);
            Some(format!("make the directory {} first, or choose another path", directory.display()))
        }
        ErrorKind::NotADirectory => {
            let is_file = |above: &&Path| fs::metadata(above).is_ok_and(|found| !found.is_dir());
            let file = path.ancestors().skip(1).find(is_file)?;
            Some(format!("{} is not a directory, so choose another path", file.display()))
        }
        ErrorKind::PermissionDenied if is_socket(path) => Some(
            "another user's server may listen there, or this user may not write to the directory, so choose another path"
                .to_owned(),
        ),
        ErrorKind::PermissionDenied => Some("choose a directory that this user may write to".to_owned()),
        _ => None,
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// The system's command that shows the program that has a port. `kind` is what ss(8) calls it.
fn command_showing_listeners(port: u16, kind: &str) -> String {
    if cfg!(target_os = "linux") {
        format!("`ss {kind}np sport = :{port}`")
    } else if cfg!(target_os = "macos") {
        let transport = if kind == "-lu" { "UDP" } else { "TCP" };
        format!("`lsof -nP -i{transport}:{port}`")
    } else if cfg!(target_os = "openbsd") {
        format!("`fstat | grep :{port}`")
    } else {
        format!("`sockstat -l -p {port}`")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn each_ordinary_failure_has_its_advice() {
        let low: SocketAddr = "0.0.0.0:80".parse().unwrap();
        for (kind, advice) in [
            (ErrorKind::AddrInUse, "port 80 is taken"),
            (ErrorKind::PermissionDenied, "port 80 is privileged"),
            (ErrorKind::AddrNotAvailable, "0.0.0.0 is not an address of this machine"),
        ] {
            let text = for_address(low, kind, "-lt").unwrap();
            assert!(text.starts_with(advice), "{kind}");
            // The place comes from --port, --bind or --listen.
            assert!(!text.contains("--"), "{text}");
        }
    }

    #[test]
    fn advice_on_a_path_fits_what_is_there() {
        let directory = std::env::temp_dir().join(format!("parrot-advice-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (file, socket) = (directory.join("file"), directory.join("socket"));
        fs::write(&file, "").unwrap();
        drop(UnixListener::bind(&socket).unwrap());
        let not_a_directory = format!("{} is not a directory", file.display());
        for (path, kind, advice) in [
            (directory.join("none/x"), ErrorKind::NotFound, "make the directory"),
            (file.join("x"), ErrorKind::NotADirectory, not_a_directory.as_str()),
            (file.join("y/x"), ErrorKind::NotADirectory, not_a_directory.as_str()),
            (socket, ErrorKind::PermissionDenied, "another user's server may listen there"),
            (directory.join("x"), ErrorKind::PermissionDenied, "choose a directory that this user may write to"),
        ] {
            assert!(for_path(&path, kind).unwrap().starts_with(advice), "{}: {kind}", path.display());
        }
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn running_out_of_descriptors_is_found_in_every_error() {
        let out_of = || io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES);
        let log = cannot_log(out_of(), Some(Path::new("/tmp/log")));
        for error in [log, cannot_log(out_of(), None), anyhow::Error::new(out_of()).context("the event queue failed")] {
            let text = format!("{:#}", on_descriptors(error));
            assert_eq!(text.matches("ulimit -n").count(), 1, "{text}");
            assert_eq!(text.lines().count(), 2, "{text}");
        }
        let other = io::Error::from(ErrorKind::NotFound);
        assert!(!format!("{:#}", on_descriptors(other.into())).contains("ulimit"));
    }

    #[test]
    fn other_failures_get_no_advice() {
        let high: SocketAddr = "[::1]:1512".parse().unwrap();
        assert_eq!(for_address(high, ErrorKind::PermissionDenied, "-lt"), None);
        assert_eq!(for_address(high, ErrorKind::OutOfMemory, "-lt"), None);
        let any: SocketAddr = "[::1]:0".parse().unwrap();
        assert_eq!(for_address(any, ErrorKind::PermissionDenied, "-lt"), None, "port 0 is not privileged");
    }
}
