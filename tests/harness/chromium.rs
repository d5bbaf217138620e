//! Debian's Chromium, headless, driven over its debugging pipe: no port, no driver program, no crate.

use base64::Engine;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = "/usr/bin/chromium";
/// For a page and its script on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// One browser with one page; killed when dropped.
pub(crate) struct Chromium {
    child: Child,
    commands: File,
    answers: BufReader<File>,
    session: Option<String>,
    asked: u64,
    /// Where screenshots are kept.
    pictures: PathBuf,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts it with a fresh profile. The pipe's ends are files 3 and 4, which a shell opens.
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let pipe = |name: &str| {
            let path = profile.path().join(name);
            assert!(
                Command::new("mkfifo")
                    .arg(&path)
                    .status()
                    .unwrap()
                    .success()
            );
            path
        };
        let (commands, answers) = (pipe("commands"), pipe("answers"));
        let script = "exec \"$0\" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --hide-scrollbars \
                      --remote-debugging-pipe --user-data-dir=\"$1\" about:blank 3<\"$2\" 4>\"$3\" >/dev/null 2>&1";
        let child = Command::new("sh")
            .args(["-c", script, BINARY])
            .args([profile.path(), &commands, &answers])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pictures = std::env::var_os("POSTERN_TEST_PICTURES").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/pictures"),
            PathBuf::from,
        );
        std::fs::create_dir_all(&pictures).unwrap();
        // Opened in the order in which the shell does; each waits for its other end.
        let mut browser = Self {
            child,
            commands: File::options().write(true).open(commands).unwrap(),
            answers: BufReader::new(File::open(answers).unwrap()),
            session: None,
            asked: 0,
            pictures,
            _profile: profile,
        };
        let targets = browser.ask("Target.getTargets", json!({}));
        let pages = targets["targetInfos"].as_array().unwrap();
        let page = pages
            .iter()
            .find(|target| target["type"] == "page")
            .unwrap();
        let attached = json!({"targetId": page["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", attached);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.ask("Page.enable", json!({}));
        browser.width(1280);
        browser
    }

    /// How wide the window is.
    pub(crate) fn width(&mut self, width: u32) {
        let metrics =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.ask("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Scripts on or off, from the next page on.
    pub(crate) fn scripts(&mut self, on: bool) {
        self.ask(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": !on}),
        );
    }

    /// Goes to an address and waits until the page is there.
    pub(crate) fn open(&mut self, url: &str) {
        let opened = self.ask("Page.navigate", json!({"url": url}));
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
        self.until("document.readyState === 'complete'");
    }

    /// The value of an expression on the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut done = self.ask("Runtime.evaluate", asked);
        assert!(
            done.get("exceptionDetails").is_none(),
            "{expression}: {done}"
        );
        done["result"]["value"].take()
    }

    /// Waits until an expression is true. A page that is being left has no answer, and is asked again.
    pub(crate) fn until(&mut self, expression: &str) {
        let end = Instant::now() + SOON;
        let asked = json!({"expression": expression, "returnByValue": true});
        while self.ask("Runtime.evaluate", asked.clone())["result"]["value"] != true {
            if Instant::now() >= end {
                let page = self.text();
                panic!("never true: {expression} on {page}");
            }
            std::thread::park_timeout(Duration::from_millis(30));
        }
    }

    /// Waits until the page says something.
    pub(crate) fn shows(&mut self, words: &str) {
        self.until(&format!(
            "document.body && document.readyState === 'complete' && document.body.innerText.includes({})",
            json!(words)
        ));
    }

    /// What a person reads.
    pub(crate) fn text(&mut self) -> String {
        let text = self.eval("document.body ? document.body.innerText : ''");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Types into a field, which has to be seen.
    pub(crate) fn fill(&mut self, name: &str, value: &str) {
        let selector = format!("[name={}]", json!(name));
        let done = self.eval(&format!(
            "(() => {{ const e = document.querySelector({}); if (!e || e.offsetParent === null) return 'not seen';
               e.value = {}; e.dispatchEvent(new Event('change', {{bubbles: true}})); return e.value === {} ? 'done' : e.value; }})()",
            json!(selector), json!(value), json!(value)
        ));
        assert_eq!(done, "done", "{name} = {value}");
    }

    /// Chooses a radio button, or ticks a box.
    pub(crate) fn choose(&mut self, name: &str, value: &str) {
        let selector = format!("[name={}][value={}]", json!(name), json!(value));
        self.click(&selector);
    }

    /// Whether an element is seen.
    pub(crate) fn sees(&mut self, selector: &str) -> bool {
        let seen = format!(
            "(() => {{ const e = document.querySelector({}); return !!e && e.offsetParent !== null; }})()",
            json!(selector)
        );
        self.eval(&seen) == true
    }

    /// Clicks what a selector finds.
    pub(crate) fn click(&mut self, selector: &str) {
        let done = self.eval(&format!(
            "(() => {{ const e = document.querySelector({}); if (!e) return false; e.click(); return true; }})()",
            json!(selector)
        ));
        assert_eq!(done, true, "{selector} is not on {}", self.text());
    }

    /// Clicks the button of this text and waits until the next page is there.
    pub(crate) fn press(&mut self, text: &str) {
        let mark = self.eval("window.left = false; true");
        assert_eq!(mark, true);
        let done = self.eval(&format!(
            "(() => {{ const all = [...document.querySelectorAll('main button, main a, nav a')]; const e = all.find(e => e.textContent.replace(/\\s+/g, ' ').trim() === {} || \
             e.getAttribute('aria-label') === {}); if (!e) return false; e.click(); return true; }})()",
            json!(text), json!(text)
        ));
        assert_eq!(done, true, "{text} is not on {}", self.text());
        self.until("window.left === undefined && document.readyState === 'complete'");
    }

    /// Keeps pictures of the page, as wide as a desk's screen and as a phone's.
    pub(crate) fn picture(&mut self, name: &str) {
        for width in [1280, 390] {
            self.width(width);
            let size = self.ask("Page.getLayoutMetrics", json!({}));
            let height = size["cssContentSize"]["height"]
                .as_f64()
                .unwrap()
                .clamp(600.0, 6000.0);
            let wide = size["cssContentSize"]["width"].as_f64().unwrap();
            assert!(
                wide <= f64::from(width),
                "{name} is {wide} wide on a screen of {width}"
            );
            let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
            let shot = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
            let shot = self.ask("Page.captureScreenshot", shot);
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(shot["data"].as_str().unwrap())
                .unwrap();
            std::fs::write(self.pictures.join(format!("{name}-{width}.png")), bytes).unwrap();
        }
        self.width(1280);
    }

    /// One command, and its answer; events in between are let go.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut command = json!({"id": self.asked, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands
            .write_all(format!("{command}\0").as_bytes())
            .unwrap();
        loop {
            let mut answer = Vec::new();
            self.answers.read_until(0, &mut answer).unwrap();
            assert_eq!(answer.pop(), Some(0), "the browser ended");
            let mut answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["id"] == self.asked {
                assert!(
                    answer.get("error").is_none() || method == "Runtime.evaluate",
                    "{method}: {answer}"
                );
                return answer["result"].take();
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
