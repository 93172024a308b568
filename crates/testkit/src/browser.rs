//! Chromium without a screen, driven over WebDriver.

use crate::http::Connection;
use crate::wait;
use crate::{cluster::free_ports, cluster::temporary_directory};
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
/// Longest time for something to appear on a page.
const LIMIT: Duration = Duration::from_secs(60);

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    directory: PathBuf,
}

impl Browser {
    /// Starts a browser with a new empty profile; None if Chromium or its driver is not installed.
    ///
    /// # Panics
    /// When it is installed and can't be started.
    #[must_use]
    pub fn start() -> Option<Self> {
        let is_there = |program: &str| {
            let mut command = Command::new(program);
            let command = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if !is_there("chromedriver") || !is_there("chromium") {
            return None;
        }
        let (port, directory) = (free_ports(1)[0], temporary_directory());
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .env("TMPDIR", &directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut browser = Self { driver, port, session: String::new(), directory };
        wait::until("chromedriver that listens", LIMIT, || {
            browser.call("GET", "/status", &Value::Null).ok()?["ready"].as_bool().filter(|r| *r)
        });
        let profile = format!("--user-data-dir={}", browser.directory.join("profile").display());
        let mut flags: Vec<&str> = FLAGS.to_vec();
        flags.push(&profile);
        let options = json!({"binary": "/usr/bin/chromium", "args": flags});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let session = browser.call("POST", "/session", &wanted).expect("a session");
        session["sessionId"].as_str().expect("its id").clone_into(&mut browser.session);
        browser.resize(1280, 860);
        Some(browser)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let headers = [("Content-Type", "application/json"), ("Connection", "close")];
        let answer = Connection::open(&format!("127.0.0.1:{}", self.port))
            .and_then(|mut connection| connection.request(method, path, &headers, &body))
            .map_err(|e| e.to_string())?;
        let value = answer.json()["value"].take();
        match value["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", value["message"])),
            None => Ok(value),
        }
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.call(method, &path, body).unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Opens an address.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    /// The address of the page.
    #[must_use]
    #[track_caller]
    pub fn url(&self) -> String {
        self.ask("GET", "/url", &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// What a script with `return` gives.
    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until an expression is true on the page; gives what it is.
    ///
    /// # Panics
    /// When that takes longer than a minute.
    #[track_caller]
    pub fn wait_for(&self, expression: &str) -> Value {
        let path = format!("/session/{}/execute/sync", self.session);
        let script = json!({"script": format!("return {expression}"), "args": []});
        wait::until(expression, LIMIT, || {
            // A page that is being exchanged has no scripts.
            let value = self.call("POST", &path, &script).ok()?;
            let is_true = match &value {
                Value::Null | Value::Bool(false) => false,
                Value::String(text) => !text.is_empty(),
                _ => true,
            };
            is_true.then_some(value)
        })
    }

    /// Waits until a text is to be seen on the page.
    #[track_caller]
    pub fn wait_for_text(&self, text: &str) {
        let text = Value::from(text);
        self.wait_for(&format!("document.body.innerText.includes({text})"));
    }

    /// Clicks on the first element that a selector finds, as soon as there is one.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let selector = Value::from(selector);
        self.wait_for(&format!("document.querySelector({selector}) !== null"));
        let found =
            self.ask("POST", "/element", &json!({"using": "css selector", "value": selector}));
        let id = found.as_object().and_then(|o| o.values().next()).and_then(Value::as_str);
        let id = id.expect("an element's id");
        self.ask("POST", &format!("/element/{id}/click"), &json!({}));
    }

    /// Presses keys one after the other.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let steps = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|step| json!({"type": step, "value": key.to_string()}))
        });
        let steps: Vec<Value> = steps.collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": steps});
        self.ask("POST", "/actions", &json!({ "actions": [keyboard] }));
    }

    /// Makes the page so large, in CSS pixels; less than 600 wide it is a phone's.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Has the system prefer `light` or `dark`.
    pub fn prefer(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    /// What the page complained of, without what the network did.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", &json!({"type": "browser"}));
        let entries = log.as_array().cloned().unwrap_or_default().into_iter();
        let entries = entries.filter(|entry| entry["source"] != "network");
        entries.map(|entry| entry["message"].to_string()).collect()
    }

    /// Writes a picture of what is to be seen.
    ///
    /// # Panics
    /// When the file can't be written.
    pub fn picture(&self, file: &Path) {
        let picture = self.ask("GET", "/screenshot", &Value::Null);
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(picture.as_str().unwrap_or_default())
            .expect("a picture");
        std::fs::write(file, bytes).expect("a file");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser with its children.
        let _ = self.call("DELETE", &format!("/session/{}", self.session), &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
