//! A real terminal for a program, of which a test sees what a person would see: tmux's.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::wait_for;

/// The time between two looks at the screen.
const PAUSE: Duration = Duration::from_millis(50);

/// A terminal with a shell. It ends with this value.
#[derive(Debug)]
pub struct Terminal {
    /// The name of the server's socket, which no other test has.
    socket: String,
}

impl Terminal {
    /// A terminal of this size. `None` and a note if there is no tmux.
    ///
    /// # Panics
    ///
    /// If tmux does not start.
    #[must_use]
    pub fn start(columns: u16, rows: u16) -> Option<Terminal> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        if Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: tmux is not installed");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let terminal = Terminal { socket: format!("parrot-test-{}-{number}", std::process::id()) };
        // The user's settings may differ, and so may the user's shell.
        let size = [columns, rows].map(|size| size.to_string());
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "-u",
            "new-session",
            "-d",
            "-x",
            &size[0],
            "-y",
            &size[1],
            "env PS1='ready$ ' sh",
        ]);
        terminal.wait("the shell is ready", |screen| screen.contains("ready$"));
        Some(terminal)
    }

    /// Types text into the terminal, then Enter.
    pub fn enter(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.press("Enter");
    }

    /// Presses a key, by tmux's name such as `C-c`.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Gives the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// Writes everything that the terminal receives from now on to a file as well.
    pub fn record(&self, file: &Path) {
        self.tmux(&["pipe-pane", &format!("cat >> '{}'", file.display())]);
    }

    /// What the screen shows, a line for each row, and nothing of what has scrolled away.
    #[must_use]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Whether the alternate screen is shown, and whether there is a cursor.
    #[must_use]
    pub fn modes(&self) -> (bool, bool) {
        let modes = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        (modes.starts_with('1'), modes.trim_end().ends_with('1'))
    }

    /// Waits until the screen is as expected, and returns it.
    ///
    /// # Panics
    ///
    /// If that takes too long. The message shows the screen.
    #[track_caller]
    #[allow(clippy::panic, reason = "for tests")]
    pub fn wait(&self, what: &str, mut expected: impl FnMut(&str) -> bool) -> String {
        let mut last = String::new();
        let found = wait_for(what, || {
            last = self.screen();
            let found = expected(&last);
            if !found {
                thread::sleep(PAUSE);
            }
            Ok(found.then(|| last.clone()))
        });
        found.unwrap_or_else(|error| panic!("{error}\n{last}"))
    }

    #[allow(clippy::expect_used, reason = "for tests")]
    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket]).args(arguments).env("LC_ALL", "C.UTF-8").env_remove("TMUX");
        let output = command.output().expect("tmux can be started");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        // It may have ended by itself.
        let _ = command.args(["-L", &self.socket, "kill-server"]).stderr(Stdio::null()).status();
    }
}
