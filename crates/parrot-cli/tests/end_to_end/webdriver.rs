//! A browser, driven as [WebDriver](https://www.w3.org/TR/webdriver2/) says, by Chromium's `chromedriver`.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use parrot_testkit::client::{connect, free_port};
use parrot_testkit::http::{get, request};
use parrot_testkit::process::Process;
use parrot_testkit::{PATIENCE, wait_until};
use serde_json::{Value, json};

use crate::support::{scratch, skip};

/// One browser at a time, because each takes some hundred MiB.
static ONE: Mutex<()> = Mutex::new(());

/// A browser with a window. It ends with this value.
pub struct Browser {
    driver: SocketAddr,
    session: String,
    profile: PathBuf,
    _process: Process,
    _one: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts a browser. `None` and a note if there is none.
    pub fn start() -> Option<Browser> {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let driver = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", driver.port())).stdin(Stdio::null()).stdout(Stdio::null());
        let Ok(process) = Process::spawn(&mut command) else {
            skip("chromedriver is not installed");
            return None;
        };
        wait_until("chromedriver listens", || get(driver, "/status").is_ok());
        let profile = scratch("browser");
        // A sandbox needs what a container may not have. The page is the only one that this browser sees.
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            format!("--user-data-dir={}", profile.display()),
        ]);
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let mut browser = Browser { driver, session: String::new(), profile, _process: process, _one: one };
        match browser.send("POST", "/session", &capabilities) {
            Ok(value) => browser.session = format!("/session/{}", value["sessionId"].as_str().unwrap()),
            Err(error) => {
                skip(&format!("chromedriver starts no browser: {error}"));
                return None;
            }
        }
        Some(browser)
    }

    /// Opens a page and waits until it is loaded.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    /// Runs a script in the page, and returns what it returns.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text of the first element that a selector finds.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let text = self.run(&format!("return document.querySelector({selector:?})?.textContent ?? '';"));
        text.as_str().unwrap().to_owned()
    }

    /// Presses a key in the element that has the focus.
    #[track_caller]
    pub fn press(&self, key: &str) {
        let press = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        self.post("/actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": press}]}));
    }

    /// Gives the window a width, and the user's preference for a colour scheme.
    #[track_caller]
    pub fn show_as(&self, width: u32, scheme: &str) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.developer("Emulation.setDeviceMetricsOverride", &size);
        self.prefer("prefers-color-scheme", scheme);
    }

    /// Gives the user a preference, by the name of its media feature.
    #[track_caller]
    pub fn prefer(&self, name: &str, value: &str) {
        self.developer("Emulation.setEmulatedMedia", &json!({"features": [{"name": name, "value": value}]}));
    }

    /// What the page has written to the console since the last call, errors of the browser included.
    #[track_caller]
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "browser"}));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    fn developer(&self, command: &str, parameters: &Value) {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}));
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.send("POST", &format!("{}{path}", self.session), body).unwrap()
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = body.to_string();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json", self.driver);
        let text = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let stream = connect(self.driver);
        // On a busy machine a browser takes long to start and to load a page.
        stream.set_read_timeout(Some(4 * PATIENCE)).map_err(|error| error.to_string())?;
        let response = request(stream, &text).map_err(|error| format!("{error:#}"))?;
        let mut json: Value = serde_json::from_str(&response.body).map_err(|error| error.to_string())?;
        let value = json["value"].take();
        if response.status == 200 { Ok(value) } else { Err(value["message"].as_str().unwrap_or_default().to_owned()) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.send("DELETE", &self.session, &json!({}));
        }
        let _ = fs::remove_dir_all(&self.profile);
    }
}
