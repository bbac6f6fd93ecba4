//! SIGHUP: the log is reopened, and with --config the options are read again.
//!
//! Everything that can fail comes first. So a mistake anywhere changes nothing.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use parrot_server::{BindError, Handle, Listen, Listening, LocalAddress, Stage};

use crate::admin::Shown;
use crate::advice;
use crate::arguments::{Arguments, CommandLine, reason};
use crate::faults;
use crate::listening::{self, Place};
use crate::logging::Logging;
use crate::ready_file::ReadyFile;
use crate::settings::{fixed, settings};

/// What a reload starts from, and what it changes.
pub(crate) struct Reload {
    pub command_line: CommandLine,
    /// The options of the start, which some of the running ones still are.
    pub started: Arguments,
    pub logging: Logging,
    pub handle: Handle,
    /// What the options listen on. Sockets that a service manager has passed are not among them.
    pub places: Vec<OpenPlace>,
    /// Whether a service manager has passed sockets.
    pub passed: bool,
    pub ready_file: SharedReadyFile,
    /// What the pages of --admin show, if there are any.
    pub shown: Option<Shown>,
    /// What the status says of faults.
    pub faults: String,
}

/// The file of --ready-file, which is written after the signals are watched and removed at the end.
pub(crate) type SharedReadyFile = Arc<Mutex<Option<ReadyFile>>>;

/// A place of the options, and what is open there.
#[derive(Debug, Clone)]
pub(crate) struct OpenPlace {
    place: Place,
    listening: Vec<Listening>,
}

/// The places with faults of their own, as the pages show them.
pub(crate) fn own_faults(places: &[OpenPlace]) -> Vec<String> {
    places.iter().filter_map(|open| open.place.own_faults()).collect()
}

impl From<(Place, Vec<Listening>)> for OpenPlace {
    fn from((place, listening): (Place, Vec<Listening>)) -> OpenPlace {
        OpenPlace { place, listening }
    }
}

impl Reload {
    /// Follows a SIGHUP.
    pub(crate) fn run(&mut self) {
        let Some(path) = self.started.config.clone() else { return self.logging.log().reopen() };
        if self.handle.stage() >= Stage::Draining {
            tracing::warn!("{} is not read again, because parrot drains", path.display());
            return self.logging.log().reopen();
        }
        let read = self.command_line.read().map_err(|error| anyhow!("{}", reason(&error)));
        match read.and_then(|wanted| self.follow(&wanted)) {
            Ok(()) => tracing::info!("reloaded {}{}", path.display(), self.faults),
            Err(error) => {
                self.logging.log().reopen();
                let reason = format!("{error:#}").replace('\n', "; ");
                tracing::error!("{reason}; nothing was changed, and a next SIGHUP tries again");
            }
        }
    }

    fn follow(&mut self, wanted: &Arguments) -> Result<()> {
        let log = self.logging.prepare(wanted)?;
        let Difference { kept, added, removed } = difference(&self.places, listening::places(wanted, self.passed)?);
        let (places, listen): (Vec<_>, Vec<_>) = added.into_iter().unzip();
        let closed = removed.iter().flat_map(|open| &open.listening).map(|listening| listening.address.clone());
        let opened = self.handle.reconfigure(settings(wanted)?, listen, &closed.collect::<Vec<_>>());
        let opened = opened.map_err(|error| cannot_listen(error, &removed))?;
        // From here on nothing fails.
        let added: Vec<Listening> = opened.concat();
        let removed: Vec<Listening> = removed.into_iter().flat_map(|place| place.listening).collect();
        self.logging.change(wanted, log);
        self.places = kept.into_iter().chain(places.into_iter().zip(opened).map(OpenPlace::from)).collect();
        let own = own_faults(&self.places);
        self.faults = faults::status(wanted, !own.is_empty());
        if let Some(shown) = &self.shown {
            shown.follow(&self.started, wanted, &own);
        }
        self.report(wanted, &added, &removed);
        Ok(())
    }

    /// Says what is different now, and what is not although it was asked for.
    fn report(&self, wanted: &Arguments, added: &[Listening], removed: &[Listening]) {
        if !added.is_empty() {
            tracing::info!("listening on {} too", listening::list(added));
        }
        if !removed.is_empty() {
            tracing::info!("no longer listening on {}", listening::list(removed));
        }
        for option in fixed(&self.started, wanted) {
            tracing::warn!("{option} stays as it was until parrot is started again");
        }
        if added.is_empty() && removed.is_empty() {
            return;
        }
        let mut ready_file = self.ready_file.lock().unwrap_or_else(PoisonError::into_inner);
        let rewritten = ready_file.as_mut().map_or(Ok(()), |file| file.rewrite(&listening::of(&self.handle)));
        if let Err(error) = rewritten {
            tracing::warn!("{error:#}");
        }
    }
}

/// How the places that are wanted differ from those that are open.
struct Difference {
    kept: Vec<OpenPlace>,
    added: Vec<(Place, Listen)>,
    removed: Vec<OpenPlace>,
}

fn difference(open: &[OpenPlace], wanted: Vec<(Place, Listen)>) -> Difference {
    let mut removed = open.to_vec();
    let (mut kept, mut added) = (Vec::new(), Vec::new());
    for (place, listen) in wanted {
        let Some(index) = removed.iter().position(|open| open.place.name == place.name) else {
            added.push((place, listen));
            continue;
        };
        let open = removed.remove(index);
        // An open socket cannot be opened again to expect PROXY headers, or to expect none.
        if open.place.proxy != place.proxy {
            let expects = if open.place.proxy { "still expects" } else { "expects no" };
            let name = place.name.escape_debug();
            tracing::warn!("{name} {expects} PROXY headers until parrot is started again");
        }
        if open.place.faults != place.faults {
            let name = place.name.escape_debug();
            tracing::warn!("{name} keeps its own faults, or none, until parrot is started again");
        } else if !open.place.faults.is_empty() && open.place.seed != place.seed {
            let (name, seed) = (place.name.escape_debug(), open.place.seed);
            tracing::warn!("{name} keeps its own faults of --seed {seed} until parrot is started again");
        }
        kept.push(open);
    }
    Difference { kept, added, removed }
}

/// The reason, which may be a listener that was to be closed and still has the port.
fn cannot_listen(error: BindError, removed: &[OpenPlace]) -> anyhow::Error {
    let port = |address: &LocalAddress| Some((address.transport(), address.socket_address()?.port()));
    let wanted = error.address().and_then(port).filter(|_| error.kind() == ErrorKind::AddrInUse);
    let has_it = |open: &&OpenPlace| open.listening.iter().any(|listening| port(&listening.address) == wanted);
    match removed.iter().find(has_it).filter(|_| wanted.is_some()) {
        Some(open) => {
            anyhow!("{error}, because {} still has the port, so reload without either of them first", open.place.name)
        }
        None => advice::cannot_bind(error),
    }
}
