//! Text that says who answered: a greeting at the start of a stream, or a prefix before each message.

use std::fmt;
use std::io::Write as _;
use std::mem;
use std::net::SocketAddr;

/// All placeholders, for errors.
const KNOWN: &str = "{host}, {pid}, {listener}, {local}, {peer}, {connection} or {env:NAME}";

/// The environment variables in [`Template::identify`]. Most deployments fill them from Kubernetes' downward API.
const POD: [&str; 4] = ["POD_NAME", "POD_NAMESPACE", "POD_IP", "NODE_NAME"];

/// The most bytes of a name in [`Facts`] that are shown, as in the log. An address has at most 58.
const MOST_NAME: usize = 256;

/// The most digits of a connection's number.
const MOST_DIGITS: usize = 20;

/// A text with placeholders for who answered and who asked.
///
/// | placeholder | value | known |
/// |---|---|---|
/// | `{host}` | the name of the machine | when the template is made |
/// | `{pid}` | the number of the process | when the template is made |
/// | `{env:NAME}` | an environment variable, or nothing if it is not set | when the template is made |
/// | `{listener}` | the listener that the peer came to | for each connection |
/// | `{local}` | the address that the peer connected to | for each connection |
/// | `{peer}` | the address of the peer | for each connection |
/// | `{connection}` | the number of the connection | for each connection |
///
/// `{{` and `}}` stand for braces.
///
/// A value never breaks a line or moves a terminal's cursor. In a text, a `?` replaces each control character of a value
/// and each line or paragraph separator of Unicode. JSON has an escape for each of them. The template's own text stays
/// as it is.
///
/// ```
/// use parrot_conn::{Endpoint, Facts, Lookup, Template};
///
/// let greeting = Template::line("{env:POD_NAME} on {host} sees {peer}", |value| match value {
///     Lookup::Host => Some("node-1".to_owned()),
///     Lookup::Pid => Some("7".to_owned()),
///     Lookup::Variable(name) => (name == "POD_NAME").then(|| "parrot-0".to_owned()),
/// })?;
/// let mut line = Vec::new();
/// greeting.render(
///     &Facts {
///         listener: "web",
///         local: None, // not asked for, because of `uses_local`
///         peer: Endpoint::Ip("192.0.2.7:50000".parse()?),
///         connection: Some(1),
///     },
///     &mut line,
/// );
/// assert!(!greeting.uses_local());
/// assert_eq!(line, b"parrot-0 on node-1 sees 192.0.2.7:50000\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Each fact with the text before it, in which the values that are known at the start have their place already.
    facts: Vec<(Vec<u8>, Fact)>,
    /// The text after the last fact.
    text: Vec<u8>,
    notation: Notation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Listener,
    Local,
    Peer,
    Connection,
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notation {
    Text,
    Json,
}

/// A value that a [`Template`] looks up when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// The name of the machine.
    Host,
    /// The number of the process, in decimal digits.
    Pid,
    /// The environment variable of this name.
    Variable(&'a str),
}

/// What a [`Template`] shows of a connection or a datagram.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The name of the listener, such as `web` or `0.0.0.0:1512`.
    pub listener: &'a str,
    /// The address that the peer sent to. It may be `None` if it is unknown or not [used](Template::uses_local).
    pub local: Option<Endpoint<'a>>,
    /// The address of the peer.
    pub peer: Endpoint<'a>,
    /// The number of the connection. A datagram has none.
    pub connection: Option<u64>,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// An IP address with a port.
    Ip(SocketAddr),
    /// Any other address, such as the path of a Unix socket. Of a longer name, the first 256 bytes are shown.
    Named(&'a str),
}

/// Why a text is not a [`Template`], with the right form.
///
/// ```
/// use parrot_conn::{Template, TemplateError};
///
/// let error = Template::raw("{pod}: ", |_| None).unwrap_err();
/// assert_eq!(error, TemplateError::Unknown("pod".to_owned()));
/// assert_eq!(
///     error.to_string(),
///     "{pod} is not a placeholder, use {host}, {pid}, {listener}, {local}, {peer}, {connection} or {env:NAME}, \
///      and {{ or }} for a brace"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateError {
    /// A placeholder has another name than the known ones.
    Unknown(String),
    /// A placeholder has no name, as in `{}` and `{env:}`.
    Unnamed,
    /// A `{` has no `}`.
    Unclosed,
    /// A `}` has no `{`.
    Unopened,
    /// A line contains the end of a line.
    LineBreak,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TemplateError::Unknown(name) => write!(f, "{{{}}} is not a placeholder", name.escape_debug())?,
            TemplateError::Unnamed => write!(f, "a placeholder has no name")?,
            TemplateError::Unclosed => write!(f, "a {{ has no }}")?,
            TemplateError::Unopened => write!(f, "a }} has no {{")?,
            TemplateError::LineBreak => return write!(f, "a greeting is one line, so it cannot contain a line break"),
        }
        write!(f, ", use {KNOWN}, and {{{{ or }}}} for a brace")
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// Creates the template of a text that is sent as it is, such as a prefix.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] says which placeholder is wrong.
    pub fn raw(text: &str, mut lookup: impl FnMut(Lookup<'_>) -> Option<String>) -> Result<Template, TemplateError> {
        let mut template = Template::empty(Notation::Text);
        let mut rest = text.chars();
        while let Some(next) = rest.next() {
            match next {
                '{' | '}' if rest.as_str().starts_with(next) => {
                    rest.next();
                    push_char(next, &mut template.text);
                }
                '{' => {
                    let (name, after) = rest.as_str().split_once('}').ok_or(TemplateError::Unclosed)?;
                    template.push_placeholder(name, &mut lookup)?;
                    rest = after.chars();
                }
                '}' => return Err(TemplateError::Unopened),
                _ => push_char(next, &mut template.text),
            }
        }
        Ok(template)
    }

    /// Creates the template of a line, such as a greeting. It ends in a line feed, which the text does not contain.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] says which placeholder is wrong, or that the text is more than a line.
    pub fn line(text: &str, lookup: impl FnMut(Lookup<'_>) -> Option<String>) -> Result<Template, TemplateError> {
        if text.contains(['\n', '\r']) {
            return Err(TemplateError::LineBreak);
        }
        let mut template = Template::raw(text, lookup)?;
        template.text.push(b'\n');
        Ok(template)
    }

    /// Creates the ready-made greeting, which is a JSON object on one line.
    ///
    /// Its keys are `host`, `pid`, `listener`, `local`, `peer`, `connection` and `env`. What is unknown is `null`. The
    /// object `env` has those of `POD_NAME`, `POD_NAMESPACE`, `POD_IP` and `NODE_NAME` that are set.
    pub fn identify(mut lookup: impl FnMut(Lookup<'_>) -> Option<String>) -> Template {
        let mut template = Template::empty(Notation::Json);
        template.push_text(r#"{"host":"#);
        template.push_value(lookup(Lookup::Host).as_deref());
        let pid = lookup(Lookup::Pid).and_then(|pid| pid.parse::<u64>().ok());
        template.push_text(r#","pid":"#);
        template.push_text(&pid.map_or("null".to_owned(), |pid| pid.to_string()));
        template.push_text(r#","listener":"#);
        template.push_fact(Fact::Listener);
        template.push_text(r#","local":"#);
        template.push_fact(Fact::Local);
        template.push_text(r#","peer":"#);
        template.push_fact(Fact::Peer);
        template.push_text(r#","connection":"#);
        template.push_fact(Fact::Connection);
        template.push_text(r#","env":{"#);
        let mut comma = "";
        for name in POD {
            if let Some(value) = lookup(Lookup::Variable(name)) {
                template.push_text(comma);
                template.push_value(Some(name));
                template.push_text(":");
                template.push_value(Some(&value));
                comma = ",";
            }
        }
        template.push_text("}}\n");
        template
    }

    /// Writes the text for a connection to the end of `out`.
    pub fn render(&self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        for (text, fact) in &self.facts {
            out.extend_from_slice(text);
            match fact {
                Fact::Listener => self.notation.push_endpoint(Some(Endpoint::Named(facts.listener)), out),
                Fact::Local => self.notation.push_endpoint(facts.local, out),
                Fact::Peer => self.notation.push_endpoint(Some(facts.peer), out),
                Fact::Connection => self.notation.push_number(facts.connection, out),
            }
        }
        out.extend_from_slice(&self.text);
    }

    /// Whether the text shows [`Facts::local`], which costs a system call for each connection.
    pub fn uses_local(&self) -> bool {
        self.facts.iter().any(|(_, fact)| *fact == Fact::Local)
    }

    /// An upper bound of the bytes that [`render`](Template::render) writes.
    pub fn longest(&self) -> usize {
        let longest = |(text, fact): &(Vec<u8>, Fact)| match fact {
            Fact::Connection => text.len() + MOST_DIGITS,
            Fact::Listener | Fact::Local | Fact::Peer => text.len() + self.notation.longest(MOST_NAME),
        };
        self.facts.iter().map(longest).sum::<usize>() + self.text.len()
    }

    const fn empty(notation: Notation) -> Template {
        Template { facts: Vec::new(), text: Vec::new(), notation }
    }

    fn push_placeholder(
        &mut self,
        name: &str,
        lookup: &mut impl FnMut(Lookup<'_>) -> Option<String>,
    ) -> Result<(), TemplateError> {
        match name {
            "host" => self.push_value(lookup(Lookup::Host).as_deref()),
            "pid" => self.push_value(lookup(Lookup::Pid).as_deref()),
            "listener" => self.push_fact(Fact::Listener),
            "local" => self.push_fact(Fact::Local),
            "peer" => self.push_fact(Fact::Peer),
            "connection" => self.push_fact(Fact::Connection),
            "" | "env:" => return Err(TemplateError::Unnamed),
            _ if name.contains('{') => return Err(TemplateError::Unclosed),
            _ => match name.strip_prefix("env:") {
                Some(variable) => self.push_value(lookup(Lookup::Variable(variable)).as_deref()),
                None => return Err(TemplateError::Unknown(name.to_owned())),
            },
        }
        Ok(())
    }

    fn push_fact(&mut self, fact: Fact) {
        self.facts.push((mem::take(&mut self.text), fact));
    }

    fn push_text(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn push_value(&mut self, value: Option<&str>) {
        self.notation.push(value, &mut self.text);
    }
}

impl Notation {
    fn push(self, value: Option<&str>, out: &mut Vec<u8>) {
        match (self, value) {
            (Notation::Text, None) => {}
            (Notation::Text, Some(value)) => {
                value.chars().for_each(|next| push_char(if breaks_line(next) { '?' } else { next }, out));
            }
            (Notation::Json, None) => out.extend_from_slice(b"null"),
            (Notation::Json, Some(value)) => {
                out.push(b'"');
                value.chars().for_each(|next| push_escaped(next, out));
                out.push(b'"');
            }
        }
    }

    fn push_endpoint(self, endpoint: Option<Endpoint<'_>>, out: &mut Vec<u8>) {
        match endpoint {
            Some(Endpoint::Named(name)) => {
                let (shown, _) = name.split_at(name.floor_char_boundary(MOST_NAME));
                self.push(Some(shown), out);
            }
            Some(Endpoint::Ip(address)) => {
                let quote = if self == Notation::Json { "\"" } else { "" };
                push_display(format_args!("{quote}{address}{quote}"), out);
            }
            None => self.push(None, out),
        }
    }

    fn push_number(self, number: Option<u64>, out: &mut Vec<u8>) {
        match number {
            Some(number) => push_display(format_args!("{number}"), out),
            None => self.push(None, out),
        }
    }

    /// The most bytes that a value of `length` bytes takes.
    const fn longest(self, length: usize) -> usize {
        match self {
            Notation::Text => length,
            Notation::Json => 2 + length * r"\u0000".len(),
        }
    }
}

/// Whether a terminal or a reader of lines could take this character for more than a character of the line.
fn breaks_line(next: char) -> bool {
    next.is_control() || next == '\u{2028}' || next == '\u{2029}'
}

/// Writes a character of a JSON string. RFC 8259 needs an escape for quotes, backslashes and the first 32 characters.
fn push_escaped(next: char, out: &mut Vec<u8>) {
    match next {
        '"' => out.extend_from_slice(br#"\""#),
        '\\' => out.extend_from_slice(br"\\"),
        // All of these are below U+10000, so four digits are enough.
        _ if breaks_line(next) => push_display(format_args!("\\u{:04x}", u32::from(next)), out),
        _ => push_char(next, out),
    }
}

fn push_char(next: char, out: &mut Vec<u8>) {
    out.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Writing to a vector cannot fail.
fn push_display(text: fmt::Arguments<'_>, out: &mut Vec<u8>) {
    let _ = out.write_fmt(text);
}
