//! `cargo xtask order` finds out which functions Parrot runs when it starts and echoes, and writes them to
//! `xtask/order.ld`, from which the linker puts them next to each other.
//!
//! Linux maps a program's file in pieces of 64 KiB (`fault_around_bytes` in mm/memory.c), and counts the whole piece as
//! the process's memory. The functions that run are a fifth of the program. Spread over all of it, they make nearly the
//! whole file resident.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};

use crate::say::say;
use crate::{cargo, program, steps};

/// The file that the task writes.
const FILE: &str = "xtask/order.ld";

const HEAD: &str = "\
/* Functions that Parrot runs when it starts and echoes. `cargo xtask order` writes this list, and the linker puts them
   next to each other, because Linux maps a file in pieces of 64 KiB. Patterns that match nothing do no harm, and
   functions that are missing cost memory only. */
SECTIONS
{
  .text.order :
  {
    *crt1.o(.text)
";
/// What glibc runs for the kernel's part of a process, the vDSO, which valgrind hides.
const VDSO: [&str; 4] = ["_dl_new_object", "_dl_setup_hash", "_dl_lookup_symbol_x", "__strcmp_avx2"];
const FOOT: &str = "  }\n}\nINSERT BEFORE .text;\n";

pub(crate) fn task() -> Result<()> {
    let archive =
        cargo::archive().context("this needs Linux with glibc and its archive libc.a (libc6-dev on Debian)")?;
    let programs = cargo::release("parrot-cli")?;
    let parrot = program::find(&programs, "parrot")?;
    let mut called: BTreeSet<String> = VDSO.iter().map(|&function| function.to_owned()).collect();
    for arguments in [&[][..], &["-q", "--log", "off"]] {
        called.extend(functions(parrot, arguments)?);
    }
    let members = members(&archive)?;
    let patterns: BTreeSet<String> = called.iter().filter_map(|function| pattern(function, &members)).collect();
    let mut text = HEAD.to_owned();
    for pattern in &patterns {
        writeln!(text, "    {pattern}")?;
    }
    let file = cargo::root().join(FILE);
    fs::write(&file, text + FOOT).with_context(|| format!("cannot write {}", file.display()))?;
    unlink("parrot-cli")?;
    say(format_args!("{} patterns in {FILE}, from which the next build links Parrot", patterns.len()))
}

/// Removes what was linked for one package, so that it is linked again. Cargo does not know when a file changes that
/// only the linker reads.
fn unlink(package: &str) -> Result<()> {
    let mut command = cargo::cargo("clean");
    command.args(["--quiet", "--release", "--package", package]);
    if let Some(target) = cargo::host() {
        command.args(["--target", &target]);
    }
    steps::command(command)
}

/// The functions, by their symbols, that `parrot` runs for a few clients when it is started with `arguments`.
fn functions(parrot: &Path, arguments: &[&str]) -> Result<Vec<String>> {
    let profile = parrot.with_extension("callgrind");
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?; // free again, for the server
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", "--demangle=no"]);
    valgrind.arg(format!("--callgrind-out-file={}", profile.display())).arg(parrot);
    valgrind.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]).args(arguments);
    let mut server = valgrind.stdout(Stdio::null()).spawn().context("cannot start valgrind (valgrind on Debian)")?;
    let served = serve(&mut server, address);
    let stopped = Command::new("kill").arg(server.id().to_string()).status();
    let status = server.wait().context("cannot wait for valgrind")?;
    served?;
    stopped.context("cannot stop the server with kill")?;
    ensure!(status.success(), "the server under valgrind ended with {status}");
    let text = fs::read_to_string(&profile).with_context(|| format!("cannot read {}", profile.display()))?;
    fs::remove_file(&profile).with_context(|| format!("cannot remove {}", profile.display()))?;
    Ok(text.lines().filter_map(called).map(str::to_owned).collect())
}

/// Sends some messages to the server, when it has started.
fn serve(server: &mut Child, address: SocketAddr) -> Result<()> {
    for _ in 0..3 {
        let mut stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(error) => ensure!(server.try_wait()?.is_none(), "cannot connect to {address}: {error}"),
            }
            thread::sleep(Duration::from_millis(20));
        };
        for message in [&b"squawk\n"[..], &[b'x'; 40_000]] {
            stream.write_all(message)?;
            stream.read_exact(&mut vec![0; message.len()])?;
        }
    }
    Ok(())
}

/// The function that a line of callgrind's output names for the first time. Later lines have its number only.
fn called(line: &str) -> Option<&str> {
    let name = line.strip_prefix("fn=(").or_else(|| line.strip_prefix("cfn=("))?;
    let (_, name) = name.split_once(") ")?;
    Some(name.split('\'').next().unwrap_or(name)) // 'N marks the Nth recursion
}

/// Which member of the archive has which function.
fn members(archive: &Path) -> Result<HashMap<String, String>> {
    let mut command = Command::new("nm");
    let output = command.arg("-A").arg("--defined-only").arg(archive).output().context("cannot start nm")?;
    ensure!(output.status.success(), "nm {} ended with {}", archive.display(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(member).collect())
}

/// The function and the member in nm's line `/usr/lib/libc.a:malloc.o:0000000000000000 T malloc`.
fn member(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    let (place, kind, function) = (words.next()?, words.next()?, words.next()?);
    let member = place.rsplit(':').nth(1)?;
    "tTwWi".contains(kind).then(|| (function.to_owned(), member.to_owned()))
}

/// The sections that may hold `function`, as the linker knows them, or `None` if it is not part of the program.
///
/// rustc gives each function a section, `.text.NAME` or `.text.unlikely.NAME`. The name ends with a hash of all that the
/// function depends on. In the standard library, which has the newer names, each crate has such a hash.
fn pattern(function: &str, members: &HashMap<String, String>) -> Option<String> {
    if function.starts_with("_ZN") {
        let (name, _) = function.rsplit_once("17h")?;
        Some(format!("*(.text*.{name}17h*)"))
    } else if function.starts_with("_R") {
        Some(format!("*(.text*.{})", without_hashes(function)))
    } else {
        let member = members.get(function)?;
        // Of functions such as memchr-avx2.o there is one for each kind of processor.
        let base = member.split_once('-').filter(|(_, rest)| rest.starts_with("avx") || rest.starts_with("sse"));
        let member = base.map_or_else(|| member.clone(), |(base, _)| format!("{base}-*.o"));
        Some(format!("*libc.a:{member}(.text .text.*)"))
    }
}

/// A name of Rust's v0 form with `*` for the hash of each crate, which is `Cs…_`.
fn without_hashes(name: &str) -> String {
    let mut parts = name.split("Cs");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let hash =
            part.split_once('_').filter(|(hash, _)| hash.len() > 8 && hash.bytes().all(|b| b.is_ascii_alphanumeric()));
        result.push_str(if hash.is_some() { "Cs*_" } else { "Cs" });
        result.push_str(hash.map_or(part, |(_, rest)| rest));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_by_its_section_whatever_its_hash() {
        let members = HashMap::from([
            ("malloc".to_owned(), "malloc.o".to_owned()),
            ("__memchr_avx2".to_owned(), "memchr-avx2.o".to_owned()),
            ("_dl_init_paths".to_owned(), "dl-load.o".to_owned()),
        ]);
        for (function, expected) in [
            ("_ZN4core3fmt5write17h0123456789abcdefE", "*(.text*._ZN4core3fmt5write17h*)"),
            ("_RNvNtCsjrHSEGnQ3l9_3std2rt4main", "*(.text*._RNvNtCs*_3std2rt4main)"),
            ("malloc", "*libc.a:malloc.o(.text .text.*)"),
            ("__memchr_avx2", "*libc.a:memchr-*.o(.text .text.*)"),
            ("_dl_init_paths", "*libc.a:dl-load.o(.text .text.*)"),
        ] {
            assert_eq!(pattern(function, &members).as_deref(), Some(expected));
        }
        assert_eq!(pattern("0x00000000000be6b0", &members), None);
    }

    #[test]
    fn functions_are_named_where_they_are_first_seen() {
        assert_eq!(called("fn=(12) malloc"), Some("malloc"));
        assert_eq!(called("cfn=(13) read'2"), Some("read"));
        assert_eq!(called("fn=(12)"), None);
        assert_eq!(called("fl=(2) ???"), None);
    }
}
