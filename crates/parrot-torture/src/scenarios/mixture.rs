//! A mixture of peers that come and go.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::figures::size;
use crate::peer::{Peer, Pulled, Sockets, Trouble};
use crate::scenario::Storm;

/// How a peer of the mixture behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Sends, receives, finishes and waits for the end.
    Polite,
    /// Sends one byte at a time.
    Byte,
    /// Sends a lot, and reads a little at a time.
    Slow,
    /// Ends with a reset, some time after its last byte.
    Rude,
}

/// How long guests may take to leave after the storm.
const LEAVE: Duration = Duration::from_secs(60);

/// A peer of the mixture, and what it still has to do.
struct Guest {
    peer: Peer,
    manner: Manner,
    left: usize,
    finished: bool,
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {:?} peer, {}, {} to send", self.manner, self.peer, self.left)
    }
}

/// How the peers of a mixture fared.
#[derive(Debug, Default)]
pub(super) struct Mixture {
    guests: u64,
    bytes: u64,
    resets: u64,
    cut_off: u64,
}

impl fmt::Display for Mixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mixed peers, {} echoed, {} resets", self.guests, size(self.bytes), self.resets)?;
        if self.cut_off > 0 {
            write!(f, ", {} cut off", self.cut_off)?;
        }
        Ok(())
    }
}

/// A guest of the mixture gets one of these at random.
pub(super) const MIXED: &[Sockets] = &[Sockets::Tiny, Sockets::Usual, Sockets::Usual];

/// Keeps `count` peers of all manners coming and going, and calls `each_round` once per round.
pub(super) fn mixed(
    storm: &mut Storm<'_>,
    count: usize,
    sockets: &[Sockets],
    mut each_round: impl FnMut(&mut Storm<'_>) -> Result<()>,
) -> Result<Mixture> {
    let mut mixture = Mixture::default();
    let mut guests: Vec<Guest> = Vec::new();
    while storm.goes_on() || !guests.is_empty() {
        // A few per round, so that they do not all begin and end together.
        for _ in 0..count.saturating_sub(guests.len()).min(4) {
            if storm.goes_on() {
                guests.extend(welcome(storm, sockets, &mut mixture)?);
            }
        }
        let mut staying = Vec::with_capacity(guests.len());
        for mut guest in guests {
            match guest.step(storm) {
                Ok(true) => staying.push(guest),
                Ok(false) => {
                    mixture.bytes += guest.peer.received();
                    if guest.manner == Manner::Rude {
                        mixture.resets += 1;
                        guest.peer.reset()?;
                    }
                }
                Err(trouble) => {
                    storm.tolerate(trouble).with_context(|| guest.to_string())?;
                    mixture.bytes += guest.peer.received();
                    mixture.cut_off += 1;
                }
            }
        }
        guests = staying;
        if !guests.is_empty() && Instant::now() > storm.until + LEAVE {
            let guests: Vec<String> = guests.iter().map(Guest::to_string).collect();
            bail!("still connected {LEAVE:?} after the storm: {}", guests.join("; "));
        }
        each_round(storm)?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(mixture)
}

fn welcome(storm: &mut Storm<'_>, sockets: &[Sockets], mixture: &mut Mixture) -> Result<Option<Guest>> {
    let sockets = *sockets.get(storm.random.below(sockets.len())).context("a mixture has sockets")?;
    let (manner, most) = match storm.random.below(8) {
        0..4 => (Manner::Polite, 256 * 1024),
        4..6 => (Manner::Byte, 200),
        6 => (Manner::Slow, 512 * 1024),
        _ => (Manner::Rude, 64 * 1024),
    };
    match storm.connect(sockets) {
        Ok(peer) => {
            mixture.guests += 1;
            let left = 1 + storm.random.below(most);
            Ok(Some(Guest { peer, manner, left, finished: false }))
        }
        Err(trouble) => {
            storm.tolerate(trouble).with_context(|| format!("a {manner:?} peer, connecting"))?;
            Ok(None)
        }
    }
}

impl Guest {
    /// Does a little. Returns false when there is nothing left to do.
    fn step(&mut self, storm: &mut Storm<'_>) -> Result<bool, Trouble> {
        let (push, pull) = match self.manner {
            Manner::Polite | Manner::Rude => (16 * 1024, 16 * 1024),
            Manner::Byte => (1, 16),
            Manner::Slow => (16 * 1024, 4 * 1024),
        };
        if self.left > 0 {
            self.left -= self.peer.push(push.min(self.left))?;
        } else if self.manner == Manner::Rude && storm.random.once_in(4) {
            return Ok(false);
        } else if !std::mem::replace(&mut self.finished, true) && self.manner != Manner::Rude {
            self.peer.finish()?;
        }
        match self.peer.pull(pull)? {
            Pulled::End if self.peer.outstanding() > 0 || self.left > 0 => Err(Trouble::Ended),
            Pulled::End => Ok(false),
            Pulled::Nothing | Pulled::Bytes(_) => Ok(true),
        }
    }
}
