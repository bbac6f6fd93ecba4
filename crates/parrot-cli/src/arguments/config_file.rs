//! The file of --config: TOML whose keys are the names of the long options.
//!
//! Each value becomes an argument in front of those of the command line. So an option is declared once, its value is
//! read by the same code, and what holds for the options together holds for those of the file too.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Arguments, LogFormat};

/// The largest file that is read, with room for the longest texts. The loop reads it again at a SIGHUP and serves nobody
/// meanwhile: 14 ms with 3,000 values in 47 KB, and 0.3 s with 30,000 in 499 KB.
const LARGEST: u64 = 512 << 10;

/// Options that make no sense in the file.
const NOT_IN_FILE: &[&str] = &["config", "check"];

/// Options that are another way to say the same. One on the command line stands for the other ones in the file.
const OTHER_WAYS: &[(&str, &[&str])] = &[("listen", &["bind", "port"]), ("bind", &["listen"]), ("port", &["listen"])];

/// The options of a file.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    text: String,
    /// In the order of the file, with one for each value of an array.
    options: Vec<FileOption>,
}

#[derive(Debug)]
struct FileOption {
    id: String,
    /// As on the command line.
    name: String,
    arguments: Vec<OsString>,
    /// Where in the text its value is.
    at: usize,
}

/// A line and a column of a file, both from 1 up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

/// Arguments, and where in the text the value is that they stand for.
type Given = (Range<usize>, Vec<OsString>);

/// What is wrong, and where in the text.
type Mistake = (Range<usize>, String);

impl ConfigFile {
    /// Reads a file and checks each option by itself.
    ///
    /// # Errors
    ///
    /// The first mistake, with its place.
    pub(super) fn read(path: &Path, command: &Command) -> Result<ConfigFile, clap::Error> {
        let shown = path.display();
        let read = match fs::metadata(path) {
            // A pipe could have the loop wait.
            Ok(found) if !found.is_file() => return Err(wrong(command, format!("{shown} is not a regular file"))),
            Ok(found) if found.len() > LARGEST => {
                return Err(wrong(command, format!("{shown} is larger than 512 KiB")));
            }
            Ok(_) => fs::read(path),
            Err(error) => Err(error),
        };
        let bytes = read.map_err(|error| wrong(command, format!("cannot read {shown}: {error}")))?;
        match str::from_utf8(&bytes) {
            Ok(text) => ConfigFile::parse(path, text, command),
            Err(error) => {
                let place = Place::of(error.valid_up_to(), &String::from_utf8_lossy(&bytes));
                Err(wrong(command, place.show(path, "this is not UTF-8")))
            }
        }
    }

    pub(super) fn parse(path: &Path, text: &str, command: &Command) -> Result<ConfigFile, clap::Error> {
        let at = |(span, reason): Mistake| wrong(command, Place::of(span.start, text).show(path, &reason));
        let table = DeTable::parse(text)
            .map_err(|error| at((error.span().unwrap_or_default(), error.message().to_owned())))?
            .into_inner();
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut options = Vec::new();
        for (key, value) in entries {
            let option = option_of(key, command).map_err(at)?;
            let name = format!("--{}", key.get_ref());
            for (span, arguments) in arguments_of(option, &name, value).map_err(at)? {
                let (id, name) = (option.get_id().to_string(), name.clone());
                options.push(FileOption { id, name, arguments, at: span.start });
            }
        }
        // Most of the time goes into each call, so a call for each value is only for those with a mistake among them.
        for some in options.chunks(100) {
            if alone(some.iter().flat_map(|option| &option.arguments), command).is_ok() {
                continue;
            }
            for option in some {
                alone(&option.arguments, command).map_err(|error| at((option.at..option.at, reason(&error))))?;
            }
        }
        Ok(ConfigFile { path: path.to_owned(), text: text.to_owned(), options })
    }

    /// Parses a command line together with the file. `own` is the command line without it.
    ///
    /// # Errors
    ///
    /// Wrong usage, with the place in the file if it is there.
    pub(super) fn with(
        &self,
        line: &[OsString],
        own: &ArgMatches,
        passed: bool,
        command: &Command,
    ) -> Result<(ArgMatches, Arguments), clap::Error> {
        let matches = command.clone().try_get_matches_from(self.in_front_of(line, own, command));
        let parsed = matches.and_then(|matches| {
            let arguments = Arguments::from_matches(&matches, passed)?;
            Ok((matches, arguments))
        });
        parsed.map_err(|error| self.locate(error, command))
    }

    /// The command line with the options of the file in front of its own, except those that it stands for.
    fn in_front_of(&self, line: &[OsString], own: &ArgMatches, command: &Command) -> Vec<OsString> {
        let kept = self.options.iter().filter(|option| !is_replaced(&option.id, own, command));
        let arguments = kept.flat_map(|option| option.value_of_environment(own).unwrap_or(option.arguments.clone()));
        let (program, rest) = line.split_first().map_or((None, line), |(program, rest)| (Some(program.clone()), rest));
        program.into_iter().chain(arguments).chain(rest.iter().cloned()).collect()
    }

    /// The error with the place in the file of the option that it is about, if that is there.
    fn locate(&self, error: clap::Error, command: &Command) -> clap::Error {
        let reason = reason(&error);
        // The advice may name other options.
        let (mistake, _) = reason.split_once(", so ").unwrap_or((&reason, ""));
        let named = self.options.iter().filter_map(|option| Some((option.place_in(mistake)?, option)));
        match named.min_by_key(|(at, _)| *at) {
            Some((_, option)) => {
                let place = Place::of(option.at, &self.text);
                command.clone().error(error.kind(), place.show(&self.path, &reason))
            }
            None => error,
        }
    }
}

impl FileOption {
    /// The option with its value from the environment, if that has one. So the file says that there is the option, and
    /// the environment what it says.
    fn value_of_environment(&self, own: &ArgMatches) -> Option<Vec<OsString>> {
        let from_environment = own.value_source(&self.id) == Some(ValueSource::EnvVariable);
        let mut argument = OsString::from(format!("{}=", self.name));
        argument.push(own.get_raw(&self.id).filter(|_| from_environment)?.next()?);
        Some(vec![argument])
    }

    /// Where a text names this option. Among options of one name, one whose value is in the text comes first.
    fn place_in(&self, text: &str) -> Option<(bool, usize)> {
        let with_value = self.arguments.first()?.to_string_lossy().replacen('=', " ", 1);
        let exact = place_in(text, &with_value).map(|at| (false, at));
        exact.or_else(|| Some((true, place_in(text, &self.name)?)))
    }
}

impl Place {
    fn of(offset: usize, text: &str) -> Place {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.rsplit_once('\n').map_or(before, |(_, line)| line);
        Place { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
    }

    fn show(self, path: &Path, reason: &str) -> String {
        format!("{}:{}:{}: {reason}", path.display(), self.line, self.column)
    }
}

/// Parses a command line that begins with the name of the program, and a file `parrot.toml` with this text. No other
/// file is read for it.
pub(crate) fn parse_with_file(line: Vec<OsString>, text: &str) -> Result<Arguments, clap::Error> {
    let command = Arguments::command();
    let own = command.clone().try_get_matches_from(&line)?;
    let file = ConfigFile::parse(Path::new("parrot.toml"), text, &command)?;
    let (_, arguments) = file.with(&line, &own, false, &command)?;
    Ok(arguments)
}

/// What an error says, without the usage behind it.
pub(crate) fn reason(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let (reason, _) = text.split_once("\n\n").unwrap_or((text, ""));
    reason.split('\n').map(str::trim).collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

fn wrong(command: &Command, reason: String) -> clap::Error {
    command.clone().error(ErrorKind::InvalidValue, reason)
}

/// The option that a key names.
fn option_of<'a>(key: &Spanned<impl AsRef<str>>, command: &'a Command) -> Result<&'a Arg, Mistake> {
    let name = key.get_ref().as_ref();
    if NOT_IN_FILE.contains(&name) {
        return Err((key.span(), format!("--{name} is for the command line only")));
    }
    let found = command.get_arguments().find(|option| option.get_long() == Some(name));
    found.ok_or_else(|| {
        let similar = alone([&format!("--{name}").into()], command).err();
        let similar = similar.and_then(|error| match error.get(ContextKind::SuggestedArg) {
            Some(ContextValue::String(similar)) => {
                Some(format!(" (did you mean {}?)", similar.trim_start_matches('-')))
            }
            _ => None,
        });
        (key.span(), format!("there is no option {name}{}", similar.unwrap_or_default()))
    })
}

/// The arguments that a value stands for, each with its place.
fn arguments_of(option: &Arg, name: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<Given>, Mistake> {
    let one = |arguments| Ok(vec![(value.span(), arguments)]);
    let mistake = |expected: &str| Err((value.span(), format!("{name} is {expected}")));
    let how_often = "a number in a file, which says how often it is given";
    match (option.get_action(), value.get_ref()) {
        (ArgAction::SetTrue, DeValue::Boolean(true)) => one(vec![name.into()]),
        (ArgAction::SetTrue, DeValue::Boolean(false)) => Ok(Vec::new()),
        (ArgAction::SetTrue, _) => mistake("true or false in a file"),
        (ArgAction::Count, DeValue::Integer(count)) => match count.to_string().parse::<u8>() {
            Ok(count) => one(vec![name.into(); count.into()]),
            Err(_) => mistake(how_often),
        },
        (ArgAction::Count, _) => mistake(how_often),
        (ArgAction::Append, DeValue::Array(values)) => values.iter().map(|value| argument(name, value)).collect(),
        _ => argument(name, value).map(|argument| vec![argument]),
    }
}

fn argument(name: &str, value: &Spanned<DeValue<'_>>) -> Result<Given, Mistake> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        other => return Err((value.span(), format!("{name} is a text or a number, not {}", kind(other)))),
    };
    Ok((value.span(), vec![format!("{name}={text}").into()]))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table (options have no sections)",
        DeValue::Boolean(_) => "true or false",
        DeValue::Float(_) => "a fraction",
        _ => "a date",
    }
}

/// Parses arguments without any others, and without the environment.
fn alone<'a>(arguments: impl IntoIterator<Item = &'a OsString>, command: &Command) -> Result<(), clap::Error> {
    let command = command.clone().mut_args(|option| option.env(None::<&str>));
    let arguments = arguments.into_iter().map(OsString::as_os_str);
    command.try_get_matches_from(std::iter::once(OsStr::new("parrot")).chain(arguments)).map(drop)
}

/// Whether the command line says what this option of the file is about.
fn is_replaced(id: &str, own: &ArgMatches, command: &Command) -> bool {
    let on_line = |id: &str| own.value_source(id) == Some(ValueSource::CommandLine);
    let other_way = OTHER_WAYS.iter().any(|(one, others)| on_line(one) && others.contains(&id));
    let excluded = command.get_arguments().any(|other| {
        on_line(other.get_id().as_str()) && (excludes(other, id, command) || excluded_by(id, other, command))
    });
    // Without a log its file has no meaning.
    let no_log = id == "log_file" && on_line("log") && own.get_one("log") == Some(&LogFormat::Off);
    on_line(id) || other_way || excluded || no_log
}

/// Whether an option cannot be used together with the one of this id.
fn excludes(option: &Arg, id: &str, command: &Command) -> bool {
    command.get_arg_conflicts_with(option).iter().any(|other| other.get_id() == id)
}

fn excluded_by(id: &str, option: &Arg, command: &Command) -> bool {
    let other = command.get_arguments().find(|other| other.get_id() == id);
    other.is_some_and(|other| excludes(other, option.get_id().as_str(), command))
}

/// Where a text has this option in it, and not only a longer one.
fn place_in(text: &str, option: &str) -> Option<usize> {
    let places = text.match_indices(option).map(|(at, _)| at);
    let mut whole = places.filter(|at| {
        let behind = text.get(at + option.len()..).unwrap_or_default();
        !behind.starts_with(|next: char| next == '-' || next.is_ascii_alphanumeric())
    });
    whole.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, line: &[&str]) -> Result<Arguments, clap::Error> {
        parse_with_file(["parrot"].iter().chain(line).map(OsString::from).collect(), text)
    }

    #[track_caller]
    fn refused(text: &str, line: &[&str]) -> String {
        reason(&read(text, line).unwrap_err())
    }

    /// The debug form of options.
    fn shown(arguments: Result<Arguments, clap::Error>) -> String {
        format!("{:?}", arguments.unwrap())
    }

    #[test]
    fn each_kind_of_value_is_read_as_on_the_command_line() {
        let text = r#"
            # Everything that can be said in a file.
            port = 7001
            bind = ["127.0.0.1", "::1"]
            listen = "udp:127.0.0.1:7002"
            backlog = 1_024
            reuse-port = true
            identify = false
            max-buffered = "64MiB"
            idle-timeout = "1m 30s"
            keepalive = "off"
            log = 'json'
            log-payload = 0
            verbose = 2
        "#;
        let line = "--port 7001 --bind 127.0.0.1 --bind ::1 --listen udp:127.0.0.1:7002 --backlog 1024 --reuse-port \
                    --max-buffered 64MiB --keepalive off --log json --log-payload 0 -vv";
        let line: Vec<&str> = line.split_whitespace().chain(["--idle-timeout", "1m 30s"]).collect();
        assert_eq!(shown(read(text, &[])), shown(read("", &line)));
        assert_eq!(shown(read("unix-mode = 0o660\nlisten = 'unix:a'", &[])), {
            shown(read("", &["--unix-mode", "0660", "--listen", "unix:a"]))
        });
    }

    /// An option that is declared can be in a file, without being declared again.
    #[test]
    fn every_long_option_is_a_key() {
        for option in Arguments::command().get_arguments() {
            let name = option.get_long().unwrap();
            let parsed = ConfigFile::parse(Path::new("f"), &format!("{name} = []"), &Arguments::command());
            let known = parsed.map_or_else(|error| !reason(&error).contains("there is no option"), |_| true);
            assert!(known, "{name}");
        }
    }

    #[test]
    fn the_command_line_wins() {
        let line = |text, line: &[&str]| shown(read(text, line));
        let alone = |arguments: &[&str]| shown(read("", arguments));
        // Options that may be repeated are not mixed.
        let places = "listen = ['tcp:127.0.0.1:1', 'unix:a']\nproxy-from = '10.0.0.0/8'\nproxy-protocol = true";
        assert_eq!(
            line(places, &["--listen", "unix:b", "--proxy-from", "::/0"]),
            alone(&["--listen", "unix:b", "--proxy-from", "::/0", "--proxy-protocol"])
        );
        // One way to say where to listen stands for the other.
        assert_eq!(line("listen = 'unix:a'", &["--port", "7"]), alone(&["--port", "7"]));
        assert_eq!(line("bind = '::1'\nport = 7", &["--listen", "unix:a"]), alone(&["--listen", "unix:a"]));
        assert_eq!(line("bind = '::1'\nport = 7", &["--port", "8"]), alone(&["--bind", "::1", "--port", "8"]));
        // Options that exclude each other do not conflict across the two.
        assert_eq!(line("verbose = 1", &["-q"]), alone(&["-q"]));
        assert_eq!(line("quiet = 2", &["-v"]), alone(&["-v"]));
        assert_eq!(line("greeting = 'hello'", &["--identify"]), alone(&["--identify"]));
        assert_eq!(line("log-file = 'a'", &["--log", "off"]), alone(&["--log", "off"]));
        assert_eq!(line("idle-timeout = '5s'", &["--idle-timeout", "6s"]), alone(&["--idle-timeout", "6s"]));
    }

    #[test]
    fn a_mistake_has_its_line_and_column() {
        for (text, expected) in [
            ("idle-timeout = 5", "parrot.toml:1:16: invalid value '5' for '--idle-timeout <TIME>': "),
            (
                "\n\n  idle-timeuot = '5s'",
                "parrot.toml:3:3: there is no option idle-timeuot (did you mean idle-timeout?)",
            ),
            ("squawk = 1", "parrot.toml:1:1: there is no option squawk"),
            ("help = true", "parrot.toml:1:1: there is no option help"),
            ("port = 1\nconfig = 'other'", "parrot.toml:2:1: --config is for the command line only"),
            (
                "log = 'xml'",
                "parrot.toml:1:7: invalid value 'xml' for '--log <FORMAT>' [possible values: clf, json, off]",
            ),
            ("bind = [\n  '::1',\n  'localhost',\n]", "parrot.toml:3:3: invalid value 'localhost'"),
            ("reuse-port = 'yes'", "parrot.toml:1:14: --reuse-port is true or false in a file"),
            ("verbose = true", "parrot.toml:1:11: --verbose is a number in a file, which says how often it is given"),
            ("verbose = -1", "parrot.toml:1:11: --verbose is a number"),
            ("log-file = true", "parrot.toml:1:12: --log-file is a text or a number, not true or false"),
            ("idle-timeout = 1.5", "parrot.toml:1:16: --idle-timeout is a text or a number, not a fraction"),
            ("port = [1]", "parrot.toml:1:8: --port is a text or a number, not an array"),
            ("[limits]\nidle-timeout = '5s'", "parrot.toml:1:2: there is no option limits"),
            ("log.file = 'a'", "parrot.toml:1:1: --log is a text or a number, not a table (options have no sections)"),
            ("port = 1\nport = 2", "parrot.toml:2:1: duplicate key"),
            ("greeting = 'ü' = 1", "parrot.toml:1:16: "),
            ("port = ", "parrot.toml:1:8: "),
            (
                "verbose = 1\nquiet = 1",
                "parrot.toml:1:11: the argument '--verbose...' cannot be used with '--quiet...'",
            ),
            ("log = 'off'\nlog-file = 'a'", "parrot.toml:1:7: --log off writes no log"),
            ("port = 1\nudp-rate = 5", "parrot.toml:2:12: --udp-rate is for datagrams"),
            (
                "listen = [\n 'unix:a',\n 'tcp:127.0.0.1:70',\n 'tcp:*:70',\n 'tcp:*:7'\n]",
                "parrot.toml:4:2: --listen tcp:*:70 and --listen tcp:127.0.0.1:70 both listen on 127.0.0.1:70,",
            ),
        ] {
            let reason = refused(text, &[]);
            assert!(reason.starts_with(expected), "{text:?}\n{reason}\n{expected}");
        }
        // A mistake of the command line is no mistake of the file.
        assert!(refused("listen = 'unix:a'", &["--udp-rate", "1"]).starts_with("--udp-rate is for datagrams"));
        assert!(refused("log = 'clf'", &["--listen", "unix:a", "--ready-file", "a"]).starts_with("--ready-file and"));
    }
}
