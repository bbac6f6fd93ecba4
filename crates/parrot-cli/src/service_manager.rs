//! Reports to the service manager, as sd_notify(3) says. systemd sets NOTIFY_SOCKET if a unit has `Type=notify`.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use parrot_server::{Stage, StageChange};
use sd_notify::NotifyState;

/// How long the first report may wait for a manager that is busy. Nobody is served yet, and without it the manager would
/// end the server at its own timeout.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time that the end of the program may take after the end of the server, mostly for the log.
const AFTER_DRAIN: Duration = Duration::from_secs(5);

/// The service manager, if there is one. Without one, nothing is reported.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    connection: Option<Connection>,
}

/// The manager's socket, and one to send from. That one stays open, so that running out of descriptors stops no report.
#[derive(Debug)]
struct Connection {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl ServiceManager {
    /// The service manager that the environment names.
    pub(crate) fn from_environment() -> ServiceManager {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return ServiceManager { connection: None } };
        match Connection::to(&name) {
            Ok(connection) => ServiceManager { connection: Some(connection) },
            Err(error) => {
                tracing::warn!("nothing is reported to the service manager at {}: {error}", name.display());
                ServiceManager { connection: None }
            }
        }
    }

    /// How often the manager wants to hear of the [watchdog](ServiceManager::watchdog): twice as often as it has to.
    pub(crate) fn watchdog_interval(&self) -> Option<Duration> {
        self.connection.as_ref()?;
        sd_notify::watchdog_enabled().filter(|time| !time.is_zero()).map(|time| time / 2)
    }

    /// The server listens.
    pub(crate) fn ready(&self, status: &str) {
        let Some(connection) = &self.connection else { return };
        if let Err(error) = connection.wait_to_send(&[NotifyState::Ready, NotifyState::Status(status)]) {
            warn(&error);
        }
    }

    /// A reload begins. [`reloaded`](ServiceManager::reloaded) has to follow.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.report(&[NotifyState::Reloading, now]),
            Err(_) => self.report(&[NotifyState::Reloading]),
        }
    }

    /// A reload is done, with or without success.
    pub(crate) fn reloaded(&self, status: &str) {
        self.report(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The loop goes on.
    pub(crate) fn watchdog(&self) {
        let Some(connection) = &self.connection else { return };
        if let Err(error) = connection.send(&[NotifyState::Watchdog]) {
            tracing::debug!("cannot report to the service manager: {error}");
        }
    }

    /// A stage of the server's end begins. The manager keeps its own time limit if that is longer.
    pub(crate) fn stopping(&self, change: &StageChange) {
        let doing = if change.stage == Stage::Leaving { "leaving" } else { "draining" };
        let status = match change.connections {
            1 => format!("{doing} with 1 open connection"),
            open => format!("{doing} with {open} open connections"),
        };
        let time = change.at_most.saturating_add(AFTER_DRAIN).as_micros();
        // The largest number means no extension.
        let extend = format!("EXTEND_TIMEOUT_USEC={}", u64::try_from(time).unwrap_or(u64::MAX - 1));
        self.report(&[NotifyState::Stopping, NotifyState::Status(&status), NotifyState::Custom(&extend)]);
    }

    fn report(&self, states: &[NotifyState<'_>]) {
        let sent = self.connection.as_ref().map_or(Ok(()), |connection| connection.send(states));
        if let Err(error) = sent {
            warn(&error);
        }
    }
}

impl Connection {
    fn to(name: &OsStr) -> io::Result<Connection> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nonblocking(true)?;
        Ok(Connection { socket, manager: address(name)? })
    }

    /// Never waits, because the loop reports too. A manager that has a full queue of reports gets no more of them.
    fn send(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        let lines: String = states.iter().map(|state| format!("{state}\n")).collect();
        self.socket.send_to_addr(lines.as_bytes(), &self.manager).map(drop)
    }

    fn wait_to_send(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        self.socket.set_nonblocking(false)?;
        let sent = self.send(states);
        self.socket.set_nonblocking(true)?;
        sent
    }
}

fn warn(error: &io::Error) {
    tracing::warn!("cannot report to the service manager: {error}");
}

/// The address of a manager: a path, or `@` and an abstract name.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "this kind of address is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_has_a_path_or_an_abstract_name() {
        assert!(address(OsStr::new("/run/systemd/notify")).is_ok());
        assert_eq!(address(OsStr::new("@notify")).is_ok(), cfg!(target_os = "linux"));
        for unsupported in ["", "notify", "vsock:2:1234"] {
            assert!(address(OsStr::new(unsupported)).is_err(), "{unsupported:?}");
        }
    }
}
