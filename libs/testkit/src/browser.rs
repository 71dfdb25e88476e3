//! Headless Chromium for tests, driven over its DevTools protocol.

mod cdp;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Ending, Process, describe, log_tail};
use crate::{guardian, tools, wait_for};
use cdp::Connection;

const FLAGS: [&str; 14] = [
    "--headless",
    // Needs rights that a container or root does not have; the pages are our own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",
    "--window-size=1280,900",
    "--remote-debugging-port=0",
];

/// A running browser with a profile of its own. Dropping it kills it.
pub struct Browser {
    connection: Arc<Connection>,
    // In this order: the process is ended before its profile is removed.
    process: Process,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser and connects to it.
    ///
    /// # Panics
    /// When there is none, or it is not ready within [`DEADLINE`](crate::DEADLINE).
    pub async fn launch() -> Self {
        let profile = tempfile::Builder::new()
            .prefix("crier-web-")
            .tempdir()
            .expect("a folder");
        guardian::watch_dir(profile.path());
        let log = profile.path().join("log");
        let mut command = Command::new(tools::chromium());
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()));
        // What it and its libraries would leave elsewhere goes away with the profile.
        command
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .current_dir(profile.path());
        let mut process = Process::spawn(&mut command, &log, Ending::Kill);
        let ready = profile.path().join("DevToolsActivePort");
        let url = wait_for("the browser to open its port", async || {
            if let Some(status) = process.ended() {
                panic!(
                    "the browser ended ({}):\n{}",
                    describe(status),
                    log_tail(&log)
                );
            }
            let text = std::fs::read_to_string(&ready).ok()?;
            let (port, path) = text.split_once('\n')?;
            path.starts_with('/')
                .then(|| format!("ws://127.0.0.1:{port}{}", path.trim_end()))
        })
        .await;
        let connection = Arc::new(Connection::open(&url).await);
        Self {
            connection,
            process,
            _profile: profile,
        }
    }

    /// The process id of its first process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A new page in a context of its own: it shares no cookies and no storage with the others.
    ///
    /// # Panics
    /// When the browser refuses.
    pub async fn page(&self) -> Page {
        let browser = |method, params| self.connection.call(None, method, params);
        let context = browser("Target.createBrowserContext", json!({})).await;
        let context = context["browserContextId"].clone();
        let target = json!({ "url": "about:blank", "browserContextId": context });
        let target = browser("Target.createTarget", target).await["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = browser("Target.attachToTarget", attach).await;
        let session = attached["sessionId"]
            .as_str()
            .expect("a session")
            .to_owned();
        let page = Page {
            connection: Arc::clone(&self.connection),
            session,
        };
        page.call("Runtime.enable", json!({})).await;
        page.call("Page.enable", json!({})).await;
        page
    }
}

/// One page.
pub struct Page {
    connection: Arc<Connection>,
    session: String,
}

impl Page {
    /// Opens an address and waits until the document and what it names are loaded.
    ///
    /// # Panics
    /// When it can't be loaded.
    pub async fn goto(&self, url: &str) {
        let answer = self.call("Page.navigate", json!({ "url": url })).await;
        if let Some(error) = answer["errorText"].as_str() {
            panic!("open {url}: {error}");
        }
        self.wait_for_js("document.readyState === 'complete'").await;
    }

    /// The value of an expression, awaited if it is a promise.
    ///
    /// # Panics
    /// When it throws.
    pub async fn eval(&self, js: &str) -> Value {
        match self.try_eval(js).await {
            Ok(value) => value,
            Err(thrown) => panic!("{js}: {thrown}"),
        }
    }

    /// Waits until an expression is true, and gives its value. One that throws is not true yet.
    ///
    /// # Panics
    /// With the page's text and errors when it is not within [`DEADLINE`](crate::DEADLINE).
    pub async fn wait_for_js(&self, expression: &str) -> Value {
        // Turned into true and false in the page: what counts as true there is not what JSON has.
        let probe =
            format!("(async () => {{ const v = await ({expression}); return v ? [v] : []; }})()");
        let waiting = wait_for(expression, async || {
            self.try_eval(&probe).await.ok()?.get(0).cloned()
        });
        waiting.await
    }

    /// Writes what the page shows to a PNG file.
    ///
    /// # Panics
    /// When the file can't be written.
    pub async fn screenshot(&self, path: impl AsRef<Path>) {
        let answer = self
            .call("Page.captureScreenshot", json!({ "format": "png" }))
            .await;
        let data = answer["data"].as_str().expect("an image");
        let png = BASE64_STANDARD.decode(data).expect("base64");
        std::fs::write(path.as_ref(), png).expect("write the screenshot");
    }

    /// What was thrown in the page and caught by nobody, so far.
    pub fn errors(&self) -> Vec<String> {
        self.connection.errors(&self.session)
    }

    async fn try_eval(&self, js: &str) -> Result<Value, String> {
        let params = json!({ "expression": js, "awaitPromise": true, "returnByValue": true });
        let mut answer = self
            .connection
            .try_call(Some(&self.session), "Runtime.evaluate", params)
            .await?;
        if let Some(details) = answer.get("exceptionDetails") {
            return Err(cdp::thrown(details));
        }
        Ok(answer["result"]["value"].take())
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        self.connection
            .call(Some(&self.session), method, params)
            .await
    }
}
