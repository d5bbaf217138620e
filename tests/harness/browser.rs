//! A real Chromium, driven over its debugging pipe: JSON messages that end with a zero byte.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(40);
/// Between two looks at a page.
const LOOK: Duration = Duration::from_millis(50);
/// A desk and a telephone.
const WIDTHS: [u32; 2] = [1280, 390];
/// What a page of Postern may weigh.
const PAGE_BYTES: u64 = 60 * 1024;

/// The browser, with one page open.
pub(crate) struct Chromium {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    id: u64,
    session: String,
    shots: PathBuf,
    /// What the page complained of: blocked by its policy, or an exception.
    complaints: Vec<String>,
    dir: tempfile::TempDir,
}

impl Chromium {
    /// Starts one whose screenshots go to a folder of this name.
    pub(crate) fn start(shots: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("pstc")
            .tempdir_in("/tmp")
            .unwrap();
        let profile = format!("--user-data-dir={}", dir.path().join("profile").display());
        // The pipe is descriptors 3 and 4 of the browser, standard input and output of this child.
        let script = "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null";
        let mut child = Command::new("sh")
            .args([
                "-c",
                script,
                "chromium",
                "--headless=new",
                "--remote-debugging-pipe",
            ])
            .args([
                "--no-sandbox",
                "--no-first-run",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--hide-scrollbars", "--lang=en", &profile, "about:blank"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = child.stdin.take().unwrap();
        let from = messages(child.stdout.take().unwrap());
        let shots = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("screenshots")
            .join(shots);
        std::fs::create_dir_all(&shots).unwrap();
        let mut browser = Self {
            child,
            to,
            from,
            id: 0,
            session: String::new(),
            shots,
            complaints: Vec::new(),
            dir,
        };
        let made = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": made["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", target);
        attached["sessionId"]
            .as_str()
            .unwrap()
            .clone_into(&mut browser.session);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "DOM.enable"] {
            browser.call(domain, json!({}));
        }
        browser.width(WIDTHS[0]);
        browser
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.id += 1;
        let mut message = json!({"id": self.id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        let end = Instant::now() + SOON;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let answer = self.from.recv_timeout(left).map_err(|e| e.to_string())?;
            if answer["id"] == json!(self.id) {
                return match answer.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(answer["result"].clone()),
                };
            }
            self.note(&answer);
        }
    }

    /// Keeps what a page complains of.
    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Log.entryAdded") if params["entry"]["source"] == "security" => {
                &params["entry"]["text"]
            }
            Some("Runtime.exceptionThrown") => &params["exceptionDetails"],
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }

    /// The value of an expression; None while a page is on its way.
    fn ask(&mut self, expression: &str) -> Option<Value> {
        let params = json!({"expression": expression, "returnByValue": true});
        let answer = self.try_call("Runtime.evaluate", params).ok()?;
        if answer.get("exceptionDetails").is_some() {
            return None;
        }
        answer["result"].get("value").cloned()
    }

    /// Waits until an expression is true of the page.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, expression: &str) {
        let end = Instant::now() + SOON;
        loop {
            if self.ask(expression) == Some(json!(true)) {
                return;
            }
            if Instant::now() > end {
                let page = self.ask("location.href + '\\n' + document.body.innerText");
                panic!("never true: {expression}; the page is {page:?}");
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Waits until the whole page is there and says this.
    #[track_caller]
    pub(crate) fn sees(&mut self, words: &str) {
        let words = json!(words);
        self.wait_until(&format!(
            "document.readyState === 'complete' && document.body.innerText.includes({words})"
        ));
    }

    /// Checks that the page that is there does not say this.
    #[track_caller]
    pub(crate) fn sees_not(&mut self, words: &str) {
        let said = self.ask(&format!(
            "document.body.innerText.includes({})",
            json!(words)
        ));
        assert_eq!(said, Some(json!(false)), "{words}");
    }

    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.wait_until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// The HTML of the page, for what must not be in it.
    pub(crate) fn html(&mut self) -> String {
        let html = self.ask("document.documentElement.outerHTML").unwrap();
        html.as_str().unwrap().to_owned()
    }

    /// Types into the field of this label.
    #[track_caller]
    pub(crate) fn fill(&mut self, label: &str, text: &str) {
        let (label, text) = (json!(label), json!(text));
        self.wait_until(&format!(
            "(() => {{
               const said = [...document.querySelectorAll('label')].find(l => l.firstChild.textContent.trim() === {label});
               const field = said && document.getElementById(said.htmlFor);
               if (!field) return false;
               for (let at = field.closest('details'); at; at = at.parentElement.closest('details')) at.open = true;
               field.focus();
               if (field.type === 'checkbox') field.checked = {text} !== '';
               else field.value = {text};
               return true;
             }})()"
        ));
    }

    /// Follows the link or presses the button of this name, wherever it is, or of this name in the row of that.
    #[track_caller]
    pub(crate) fn press(&mut self, name: &str) {
        self.press_in("body", name);
    }

    /// The same within an element.
    #[track_caller]
    pub(crate) fn press_in(&mut self, within: &str, name: &str) {
        let (within, name) = (json!(within), json!(name));
        self.wait_until(&format!(
            "(() => {{
               if (document.readyState !== 'complete') return false;
               const root = document.querySelector({within});
               const named = e => e.getAttribute('aria-label') || e.textContent;
               const found = root && [...root.querySelectorAll('a, button, summary, input[type=radio], label')]
                 .find(e => named(e).replace(/\\s+/g, ' ').trim() === {name});
               if (!found) return false;
               setTimeout(() => found.click());
               return true;
             }})()"
        ));
    }

    /// Chooses a file for the field of this id.
    pub(crate) fn choose_file(&mut self, id: &str, file: &Path) {
        let document = self.call("DOM.getDocument", json!({}));
        let root = document["root"]["nodeId"].clone();
        let selector = json!({"nodeId": root, "selector": format!("#{id}")});
        let node = self.call("DOM.querySelector", selector)["nodeId"].clone();
        self.call(
            "DOM.setFileInputFiles",
            json!({"files": [file], "nodeId": node}),
        );
    }

    /// What is downloaded from now on comes into this folder.
    pub(crate) fn downloads(&mut self) -> PathBuf {
        let path = self.dir.path().join("downloads");
        std::fs::create_dir_all(&path).unwrap();
        let params = json!({"behavior": "allow", "downloadPath": path});
        self.call("Browser.setDownloadBehavior", params);
        path
    }

    /// Presses the tabulator, as who has no mouse.
    pub(crate) fn tab(&mut self) {
        for kind in ["keyDown", "keyUp"] {
            let key =
                json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9});
            self.call("Input.dispatchKeyEvent", key);
        }
    }

    /// The value of an expression that must have one.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        self.ask(expression)
            .unwrap_or_else(|| panic!("no value: {expression}"))
    }

    fn width(&mut self, width: u32) {
        let metrics =
            json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Screenshots of the whole page at desk and telephone width, light and dark; and looks at what every page must hold: it fits
    /// the width, weighs little, and everything in it has a name.
    #[track_caller]
    pub(crate) fn shot(&mut self, name: &str) {
        for (width, scheme) in [
            (WIDTHS[0], "light"),
            (WIDTHS[0], "dark"),
            (WIDTHS[1], "light"),
        ] {
            self.width(width);
            let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            self.call("Emulation.setEmulatedMedia", features);
            let faults = self.value(include_str!("page_faults.js"));
            assert_eq!(faults, json!([]), "{name} at {width}, {scheme}");
            let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
            let clip =
                json!({"x": 0, "y": 0, "width": width, "height": size["height"], "scale": 1});
            let picture = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
            let picture = self.call("Page.captureScreenshot", picture);
            let bytes = base64_bytes(picture["data"].as_str().unwrap());
            let suffix = if scheme == "dark" { "-dark" } else { "" };
            std::fs::write(
                self.shots.join(format!("{name}-{width}{suffix}.png")),
                bytes,
            )
            .unwrap();
        }
        self.width(WIDTHS[0]);
        let features = json!({"features": []});
        self.call("Emulation.setEmulatedMedia", features);
        let bytes = self.value("performance.getEntriesByType('navigation')[0].decodedBodySize");
        assert!(
            bytes.as_u64().unwrap() < PAGE_BYTES,
            "{name} weighs {bytes}"
        );
    }

    /// No page was hindered by its policy, and no script failed.
    #[track_caller]
    pub(crate) fn never_complained(&mut self) {
        self.value("1");
        assert_eq!(self.complaints, Vec::<String>::new());
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _closed = self.try_call("Browser.close", json!({}));
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn base64_bytes(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap()
}

/// Reads messages on a thread of its own, which ends with the pipe.
fn messages(pipe: impl std::io::Read + Send + 'static) -> Receiver<Value> {
    let (to, from) = channel();
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while pipe.read_until(0, &mut bytes).is_ok_and(|n| n > 0) {
            bytes.pop();
            let Ok(message) = serde_json::from_slice(&bytes) else {
                return;
            };
            if to.send(message).is_err() {
                return;
            }
            bytes.clear();
        }
    });
    from
}
