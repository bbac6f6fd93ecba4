//! The pages of `--admin`: where they are, and what they show of the program.

mod shown;

use std::ffi::OsString;
use std::fmt;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use anyhow::{Context, Result};
use parrot_admin::{Admin, Door, LogLines, Program};
use parrot_server::{Listen, LocalAddress, Server, SocketFile, UnservedListener};
use parrot_values::{Endpoint, Host, UnixPlace, endpoint};

use crate::advice;
use crate::arguments::Arguments;
use crate::logging::Log;

pub(crate) use self::shown::Shown;

/// The form of the value.
const FORM: &str = "expected ADDRESS:PORT or unix:PATH, such as 127.0.0.1:9512";

/// The value of `--admin`, which is one address or a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminPlace(Endpoint);

/// Pages that are served for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Removed before the thread ends, so that a client finds either pages or no file.
    _file: Option<SocketFile>,
    _admin: Admin,
    address: LocalAddress,
    shown: Shown,
}

/// Reads `ADDRESS:PORT`, `localhost:PORT`, which is 127.0.0.1, or `unix:PATH`.
pub(crate) fn admin_place(text: OsString) -> Result<AdminPlace, String> {
    let text = text.to_str().ok_or("this is not UTF-8, so choose a path that is")?;
    if let Some((scheme @ ("http" | "https"), _)) = text.split_once("://") {
        return Err(format!("{FORM} without {scheme}://"));
    }
    if text.starts_with("unix:") {
        return match endpoint(text)? {
            Endpoint::Unix(UnixPlace::Abstract(_)) => {
                Err("a name without a file is not served, so choose a path".to_owned())
            }
            place => Ok(AdminPlace(place)),
        };
    }
    match endpoint(&format!("tcp:{text}")) {
        Ok(Endpoint::Tcp(Host::Localhost, port)) => admin_place(format!("127.0.0.1:{port}").into()),
        Ok(Endpoint::Tcp(Host::Every, port)) => {
            Err(format!("the pages have one address, so write 0.0.0.0:{port} or [::]:{port}"))
        }
        Ok(place) => Ok(AdminPlace(place)),
        Err(_) if !text.contains(':') => Err(FORM.to_owned()),
        Err(error) => Err(error),
    }
}

impl AdminPlace {
    /// As `--listen` would have it.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.0
    }

    fn listen(&self) -> Result<Listen> {
        match &self.0 {
            Endpoint::Tcp(Host::Address(address), port) => Ok(Listen::tcp(address.at(*port)?)),
            Endpoint::Unix(UnixPlace::Path(path)) => Ok(Listen::unix(path)),
            _ => anyhow::bail!(FORM),
        }
    }
}

/// The place of the pages, if the options ask for them.
pub(crate) fn listen(arguments: &Arguments) -> Result<Option<Listen>> {
    arguments.admin.as_ref().map(AdminPlace::listen).transpose()
}

impl Pages {
    /// Serves the pages of a server that is not running yet, if the options ask for them.
    pub(crate) fn serve(
        arguments: &Arguments,
        own_faults: &[String],
        server: &mut Server,
        log: Log,
    ) -> Result<Option<Pages>> {
        let Some(listen) = listen(arguments)? else { return Ok(None) };
        let opened = listen.open_unserved(arguments.unix_mode).map_err(advice::cannot_bind)?;
        let UnservedListener { address, socket, file } = opened.into_iter().next().context(FORM)?;
        let door: Door = match &address {
            LocalAddress::Tcp(_) => TcpListener::from(socket).into(),
            _ => UnixListener::from(socket).into(),
        };
        let shown = Shown::new(arguments, own_faults);
        let settings = shown.clone();
        let lines = move || {
            let statistics = log.statistics()?;
            Some(LogLines { written: statistics.written, dropped: statistics.dropped })
        };
        let program = Program {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: Some(Box::new(move || settings.read())),
            log: Some(Box::new(lines)),
        };
        server.time_turns();
        let admin = Admin::start(door, server.handle(), program).context("cannot serve the pages of --admin")?;
        Ok(Some(Pages { _file: file, _admin: admin, address, shown }))
    }

    pub(crate) fn address(&self) -> &LocalAddress {
        &self.address
    }

    /// The settings that the pages show.
    pub(crate) fn shown(&self) -> Shown {
        self.shown.clone()
    }
}

impl fmt::Display for AdminPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.strip_prefix("tcp:").unwrap_or(&text))
    }
}

/// Where a browser finds the pages, or for a Unix socket where curl does.
impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            LocalAddress::Tcp(address) => write!(f, "http://{address}/"),
            address => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_address_or_a_path() {
        for (text, shown) in [
            ("127.0.0.1:9512", "127.0.0.1:9512"),
            ("localhost:9512", "127.0.0.1:9512"),
            ("[::1]:0", "[::1]:0"),
            ("0.0.0.0:9512", "0.0.0.0:9512"),
            ("unix:/run/parrot/admin.sock", "unix:/run/parrot/admin.sock"),
            ("unix:///run/admin.sock", "unix:///run/admin.sock"),
        ] {
            assert_eq!(admin_place(text.into()).unwrap().to_string(), shown);
        }
        for (text, advice) in [
            ("9512", FORM),
            ("", FORM),
            ("*:9512", "write 0.0.0.0:9512"),
            ("127.0.0.1", FORM),
            ("::1:9512", "brackets"),
            ("127.0.0.1:99999", "a port from 0 to 65535"),
            ("http://127.0.0.1:9512/", "such as 127.0.0.1:9512 without http://"),
            ("https://", FORM),
        ] {
            let error = admin_place(text.into()).unwrap_err();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }
}
