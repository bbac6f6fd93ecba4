//! The file of `--ready-file`, which says where the server listens for as long as it runs.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::Result;
use parrot_server::{Listening, LocalAddress};
use serde::Serialize;

use crate::advice;

/// How every such file begins.
const START: &[u8; 7] = b"{\"pid\":";

/// A file with the addresses as JSON. Dropping it removes the file, unless another server has replaced it.
#[derive(Debug)]
pub(crate) struct ReadyFile {
    path: PathBuf,
    contents: Vec<u8>,
    admin: Option<LocalAddress>,
    /// Locked while the server lives. The system unlocks the file of a server that is killed.
    _locked: File,
}

#[derive(Serialize)]
struct Contents<'a> {
    pid: u32,
    listeners: Vec<Listener<'a>>,
    /// Where the pages of `--admin` are.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<Listener<'a>>,
}

#[derive(Serialize, Default)]
struct Listener<'a> {
    transport: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    abstract_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    proxy_protocol: bool,
}

impl ReadyFile {
    /// Removes the file that a killed server has left behind, so that nobody takes it for the next one's. A file that is
    /// locked or no ready file stays.
    pub(crate) fn remove_stale(path: &Path) {
        if is_regular(path) && is_stale(path).unwrap_or(false) {
            // If that fails, the next write replaces the file or reports why it cannot.
            let _ = fs::remove_file(path);
        }
    }

    /// Writes the file whole, so that a reader finds either nothing or everything.
    pub(crate) fn write(path: PathBuf, listening: &[Listening], admin: Option<LocalAddress>) -> Result<ReadyFile> {
        match write(&path, listening, admin.as_ref()) {
            Ok((locked, contents)) => Ok(ReadyFile { path, contents, admin, _locked: locked }),
            Err(error) => Err(advice::cannot_write_ready_file(error, &path)),
        }
    }

    /// Writes the file again, for other listeners, unless another server has replaced it.
    pub(crate) fn rewrite(&mut self, listening: &[Listening]) -> Result<()> {
        if is_regular(&self.path) && !self.is_ours() {
            return Ok(());
        }
        let written = write(&self.path, listening, self.admin.as_ref());
        let written = written.map_err(|error| advice::cannot_write_ready_file(error, &self.path))?;
        (self._locked, self.contents) = written;
        Ok(())
    }

    /// Whether the file is still the one that was written. Its number of the process makes it differ from that of any
    /// other server.
    fn is_ours(&self) -> bool {
        is_regular(&self.path) && fs::read(&self.path).is_ok_and(|found| found == self.contents)
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if self.is_ours()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Writes a file for these listeners. Returns it locked, with what it says.
fn write(path: &Path, listening: &[Listening], admin: Option<&LocalAddress>) -> io::Result<(File, Vec<u8>)> {
    let contents = contents(listening, admin)?;
    Ok((replace(path, &contents)?, contents))
}

fn contents(listening: &[Listening], admin: Option<&LocalAddress>) -> serde_json::Result<Vec<u8>> {
    let listeners = listening.iter().map(listener).collect();
    let contents = Contents { pid: process::id(), listeners, admin: admin.map(place) };
    let mut json = serde_json::to_vec(&contents)?;
    json.push(b'\n');
    Ok(json)
}

fn listener(listening: &Listening) -> Listener<'_> {
    let (name, proxy_protocol) = (listening.name.as_deref(), listening.proxy_protocol);
    Listener { name, proxy_protocol, ..place(&listening.address) }
}

fn place(address: &LocalAddress) -> Listener<'_> {
    let mut listener = Listener { transport: address.transport(), ..Listener::default() };
    match address {
        LocalAddress::Unix(path) => listener.path = Some(path.display().to_string()),
        LocalAddress::UnixAbstract(name) => listener.abstract_name = Some(name.escape_ascii().to_string()),
        address => {
            let address = address.socket_address();
            listener.address = address.map(|address| address.to_string());
            listener.host = address.map(host);
            listener.port = address.map(|address| address.port());
        }
    }
    listener
}

/// The address without its port, and with its zone.
fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        _ => address.ip().to_string(),
    }
}

/// Writes another file in the same directory, and renames it. What is not a regular file stays, because a rename would
/// replace even `/dev/null`.
fn replace(path: &Path, contents: &[u8]) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok() && !is_regular(path) {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "it exists and is not a regular file"));
    }
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "a file name is missing"));
    };
    let temporary = path.with_file_name(format!(".{}.{}", name.display(), process::id()));
    // One that a process with the same number has left behind.
    let _ = fs::remove_file(&temporary);
    let write = || {
        let mut file = File::create_new(&temporary)?;
        // std has no locks on DragonFly, and some file systems have none. There the file of a killed server stays until
        // the next one is ready.
        let _ = file.try_lock();
        file.write_all(contents)?;
        fs::rename(&temporary, path)?;
        Ok(file)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Whether a file is a ready file whose server is gone.
fn is_stale(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut start = [0; START.len()];
    file.read_exact(&mut start)?;
    Ok(start == *START && file.try_lock().is_ok())
}

fn is_regular(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_listener_has_its_form() {
        let at = |address, name: Option<&str>| Listening {
            address,
            name: name.map(str::to_owned),
            proxy_protocol: name.is_some(),
        };
        let tcp = |address: &str| LocalAddress::Tcp(address.parse().unwrap());
        for (listening, json) in [
            (
                at(tcp("127.0.0.1:1512"), Some("web")),
                r#"{"transport":"tcp","address":"127.0.0.1:1512","host":"127.0.0.1","port":1512,"name":"web","proxy_protocol":true}"#,
            ),
            (
                at(tcp("[fe80::1%2]:7"), None),
                r#"{"transport":"tcp","address":"[fe80::1%2]:7","host":"fe80::1%2","port":7}"#,
            ),
            (
                at(LocalAddress::Udp("[::]:7".parse().unwrap()), None),
                r#"{"transport":"udp","address":"[::]:7","host":"::","port":7}"#,
            ),
            (
                at(LocalAddress::Unix("/tmp/\"parrot\".sock".into()), None),
                r#"{"transport":"unix","path":"/tmp/\"parrot\".sock"}"#,
            ),
            (
                at(LocalAddress::UnixAbstract(b"parrot".to_vec()), None),
                r#"{"transport":"unix","abstract_name":"parrot"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&listener(&listening)).unwrap(), json);
        }
    }

    #[test]
    fn the_file_of_another_server_is_not_written_again() {
        let path = std::env::temp_dir().join(format!("parrot-ready-{}", process::id()));
        let mut file = ReadyFile::write(path.clone(), &[], None).unwrap();
        fs::remove_file(&path).unwrap();
        file.rewrite(&[]).unwrap();
        assert!(file.is_ours());
        fs::write(&path, "another").unwrap();
        file.rewrite(&[]).unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another");
        fs::remove_file(path).unwrap();
    }
}
