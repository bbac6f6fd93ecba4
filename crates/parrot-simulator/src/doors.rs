//! What a story has besides TCP listeners of its own: Unix sockets, given listeners, PROXY headers, greetings, prefixes.

use parrot_server::Template;

use crate::dice::Dice;
use crate::time::{MICROSECOND, MILLISECOND, SECOND};

/// A listener of the plan.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PortPlan {
    /// Somebody else has opened it, and may hold it too.
    pub(crate) given: bool,
    /// Its peers come over a Unix socket.
    pub(crate) unix: bool,
    /// Its connections begin with a PROXY header.
    pub(crate) proxy: bool,
    /// It is opened in the run.
    pub(crate) later: bool,
}

/// What holds for all listeners.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doors {
    pub(crate) greeting: Option<String>,
    pub(crate) prefix: Option<String>,
    /// How long a PROXY header may take to arrive.
    pub(crate) header_timeout: u64,
    /// Whether only some addresses may send one.
    pub(crate) trusts_some: bool,
}

/// Which doors a story has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Which {
    pub(crate) udp: bool,
    pub(crate) given: bool,
    pub(crate) unix: bool,
    pub(crate) proxy: bool,
    pub(crate) replies: bool,
}

impl Which {
    /// Draws at least one door.
    pub(crate) fn draw(dice: &mut Dice) -> Which {
        let [udp, given, unix, proxy, replies] = [112, 64, 80, 112, 112].map(|often| dice.chance(often));
        Which { udp: udp || !(given || unix || proxy || replies), given, unix, proxy, replies }
    }
}

impl PortPlan {
    pub(crate) fn draw(which: Which, dice: &mut Dice) -> PortPlan {
        PortPlan {
            given: which.given && dice.chance(128),
            unix: which.unix && dice.chance(160),
            proxy: which.proxy && dice.chance(192),
            later: false,
        }
    }
}

impl Doors {
    pub(crate) fn draw(which: Which, max_output: usize, dice: &mut Dice) -> Doors {
        let greetings = ["hello\n", "{listener} {local} {peer} {connection}\n", "{connection}"];
        let mut greeting = dice.pick(greetings).to_owned();
        if dice.chance(64) {
            // Longer than the buffer, if that is small.
            let most = dice.between((1, 3)) as usize * max_output;
            greeting = greeting.repeat((most / greeting.len()).clamp(1, 60));
        }
        let prefix = dice.pick(["> ", "{connection}: ", "<{listener} {local} {peer} {connection}> "]);
        let [greets, prefixes] = match dice.below(3) {
            _ if !which.replies => [false; 2],
            0 => [true, false],
            1 => [false, true],
            _ => [true, true],
        };
        // The server refuses a prefix that leaves no room for a message.
        let fits = template(prefix).is_some_and(|prefix| prefix.longest() < max_output);
        Doors {
            greeting: greets.then_some(greeting),
            prefix: (prefixes && fits).then(|| prefix.to_owned()),
            header_timeout: dice.pick([3 * SECOND, 3 * SECOND, 20 * MILLISECOND, MILLISECOND, 200 * MICROSECOND]),
            trusts_some: dice.chance(64),
        }
    }
}

/// The template with this text.
pub(crate) fn template(text: &str) -> Option<Template> {
    Template::raw(text, |_| None).ok()
}

/// What a template shows for these facts, of which those that do not exist are empty.
pub(crate) fn rendered(text: &str, [listener, local, peer, connection]: [&str; 4]) -> Vec<u8> {
    let text = text.replace("{listener}", listener).replace("{local}", local);
    text.replace("{peer}", peer).replace("{connection}", connection).into_bytes()
}
