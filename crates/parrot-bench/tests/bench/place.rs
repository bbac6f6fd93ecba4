//! The directory of one test, in which another server takes Parrot's place.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use parrot_testkit::program::{Ended, run};
use parrot_testkit::{wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

/// `--rival` for a server of this file.
pub(crate) fn rival(name: &str, server: &str, placeholder: &str) -> String {
    format!("--rival={name}={} --ignored --exact {server} {placeholder}", std::env::current_exe().unwrap().display())
}

/// The directory of one test, in which the program `parrot` is one of the servers above.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(test: &str, server: &str) -> Place {
        let place = Place(Path::new(env!("CARGO_TARGET_TMPDIR")).join(test));
        let _ = fs::remove_dir_all(&place.0);
        fs::create_dir_all(&place.0).unwrap();
        let (own, directory) = (std::env::current_exe().unwrap(), place.0.display());
        // It is called with --bind 127.0.0.1 --port PORT.
        let script = format!(
            "#!/bin/sh\nprintf %s \"$4\" > '{directory}/port'\necho $$ >> '{directory}/processes'\n\
             exec '{}' --ignored --exact {server} \"$4\"\n",
            own.display()
        );
        place.program("parrot", &script);
        place
    }

    /// `--rival` for the same server that takes Parrot's place.
    pub(crate) fn twin(&self, name: &str) -> String {
        format!("--rival={name}={} --bind 127.0.0.1 --port {{port}}", self.0.join("parrot").display())
    }

    /// The processes that have been started in the place of Parrot and its twins.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let ids = fs::read_to_string(self.0.join("processes")).unwrap_or_default();
        ids.lines().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
    }

    /// Waits until none of these processes is left.
    pub(crate) fn expect_no_process(&self) {
        for process in self.processes() {
            wait_until("a process ends", || test_kill_process(process).is_err());
        }
    }

    /// Writes a script into the directory.
    pub(crate) fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut bench = Command::new(env!("CARGO_BIN_EXE_parrot-bench"));
        bench.arg("--programs").arg(&self.0).arg("--output").arg(self.0.join("out")).args(arguments);
        bench.env("PATH", "/nonexistent"); // neither Go nor Node takes part
        bench
    }

    pub(crate) fn bench(&self, arguments: &[&str]) -> Ended {
        run(&mut self.command(arguments))
    }

    /// Runs the benchmark until it could read the CPU time in time, which a busy machine prevents now and then.
    pub(crate) fn bench_in_time(&self, arguments: &[&str]) -> Ended {
        let in_time = || self.results()["cells"][0]["runs"][0]["cpu_per_message"].is_f64();
        wait_for("a run with its CPU time", || {
            let ended = self.bench(arguments);
            Ok(in_time().then_some(ended))
        })
        .unwrap()
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits for a server to start, and returns the port of the one that started last.
    pub(crate) fn port(&self) -> u16 {
        let port = || fs::read_to_string(self.0.join("port")).ok()?.parse().ok();
        wait_for("the start of a server", || Ok(port())).unwrap()
    }

    pub(crate) fn results(&self) -> Value {
        serde_json::from_slice(&fs::read(self.0.join("out/results.json")).unwrap()).unwrap()
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join("out").join(file)).unwrap()
    }

    /// Waits until the server that started last no longer listens.
    pub(crate) fn expect_no_server(&self) {
        let port = self.port();
        wait_until("the server ends", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    }
}

pub(crate) fn interrupt(bench: &Child) {
    kill_process(Pid::from_child(bench), Signal::INT).unwrap();
}

/// Interrupts the benchmark until it ends. Two pending signals count as one, so one after the other could be too few.
pub(crate) fn interrupt_until_it_ends(bench: &mut Child) -> ExitStatus {
    let ended = wait_for("the end of the benchmark", || {
        let ended = bench.try_wait()?;
        if ended.is_none() {
            interrupt(bench);
        }
        Ok(ended)
    });
    ended.unwrap()
}
