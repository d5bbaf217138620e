//! Token configs on their way between installations and programs, by the command line of the real binary.
#![expect(clippy::unwrap_used, reason = "in a test a surprise ends the test")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use sandbox::{Knobs, Provider};
use tokio_util::sync::CancellationToken;

const USER: &str = "support@sandbox.test";
const PASSPHRASE: &str = "correct horse battery\n";

/// The pretend provider, for as long as a test runs.
struct Pretend {
    provider: Provider,
    shutdown: CancellationToken,
    // Last: the provider's tasks live on it.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Pretend {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shutdown = CancellationToken::new();
        let started = Provider::start(Knobs::default(), shutdown.clone());
        let provider = runtime.block_on(started).unwrap();
        Self {
            provider,
            shutdown,
            runtime: Some(runtime),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.provider.oauth())
    }

    /// A token config `t` in a configuration file.
    fn declaration(&self) -> String {
        let (id, secret) = self.provider.client();
        format!(
            "token_configs:\n  - name: t\n    template: generic\n    client_id: {id}\n    client_secret: {secret}\n    scope: mail\n    \
             endpoints: {{authorize: '{}', token: '{}'}}\n",
            self.url("/authorize"),
            self.url("/token")
        )
    }
}

impl Drop for Pretend {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
        }
    }
}

/// One installation: a folder, and its configuration.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(declaration: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let text = format!(
            "state_dir: {at}/s\nkey: {{file: {at}/key}}\ncontrol_socket: {at}/c.sock\ndrop_dir: {at}/drop\ntemplates_dir: {at}/templates\n\
             web: off\nsubmission: []\n{declaration}"
        );
        std::fs::write(dir.path().join("postern.yaml"), text).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs a command to its end with a text on standard input, and looks for secrets in what it says.
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(arguments)
            .env("POSTERN_CONFIG", self.path("postern.yaml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads no input has closed it already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Standard output and standard error, when it ends with this code.
    fn ends(&self, arguments: &[&str], input: &str, code: i32) -> String {
        let output = self.run(arguments, input);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(code),
            "postern {arguments:?}: {said}"
        );
        String::from_utf8(output.stdout).unwrap() + &said
    }

    fn ok(&self, arguments: &[&str], input: &str) -> String {
        self.ends(arguments, input, 0)
    }
}

#[test]
fn a_sealed_export_with_tokens_moves_an_installation_without_a_new_consent() {
    let pretend = Pretend::new();
    let here = Place::new(&pretend.declaration());
    let refresh_token = pretend.provider.consent(USER);
    here.ok(&["token", "seed", "t"], &format!("{refresh_token}\n"));

    // Tokens travel sealed only, and a passphrase that can be guessed seals nothing.
    here.ends(&["token", "export", "--with-tokens"], "", 64);
    let file = here.path("move.yml");
    let file = file.to_str().unwrap();
    let export = [
        "token",
        "export",
        "--passphrase",
        "--with-tokens",
        "-o",
        file,
    ];
    here.ends(&export, "short\n", 65);
    assert!(!here.path("move.yml").exists());
    let said = here.ok(&export, PASSPHRASE);
    assert!(said.contains("1 refresh token"), "{said}");
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(file).unwrap();
    let (id, secret) = pretend.provider.client();
    for planted in [&refresh_token, &secret, &id] {
        assert!(!text.contains(planted.as_str()), "{text}");
    }

    let there = Place::new("");
    there.ends(&["token", "import", file], "another passphrase\n", 65);
    let tried = there.ok(&["token", "import", file, "--dry-run"], PASSPHRASE);
    assert!(tried.contains("t: refresh token would be taken"), "{tried}");
    there.ends(&["token", "show", "t"], "", 65);
    let done = there.ok(&["token", "import", file], PASSPHRASE);
    assert!(done.contains("t: added") && done.contains("t: refresh token taken"));
    there.ok(&["token", "access", "t"], "");
}

#[test]
fn an_export_into_a_folder_has_a_name_of_its_own_and_no_secret_unless_wanted() {
    let place = Place::new("");
    let add = [
        "token",
        "add",
        "g",
        "--template",
        "google",
        "--client-id",
        "c",
    ];
    place.ok(&add, "planted\n");
    std::fs::create_dir(place.path("out")).unwrap();
    let folder = place.path("out");
    let folder = folder.to_str().unwrap();
    place.ok(&["token", "export", "--without-secrets", "-o", folder], "");
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let name = file.file_name().into_string().unwrap();
    assert!(
        name.starts_with("PosternTokenConfigs_20") && name.ends_with(".yml"),
        "{name}"
    );
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(
        text.contains("Name: g") && !text.contains("planted"),
        "{text}"
    );
}

#[test]
fn the_token_file_of_another_program_is_looked_at_first_and_then_taken() {
    let pretend = Pretend::new();
    let place = Place::new("");
    let (id, secret) = pretend.provider.client();
    let token = serde_json::json!({
        "scope": "mail", "user": USER, "client_id": id, "client_secret": secret,
        "token_uri": pretend.url("/token"), "auth_uri": pretend.url("/authorize"),
        "refresh_token": pretend.provider.consent(USER), "access_token": "planted", "expires_at": 1.5,
    });
    let file = place.put("getmail.json", &token.to_string());
    let import = ["token", "import", "--from", "getmail", &file];
    let tried = place.ok(&[&import[..], &["--dry-run"]].concat(), "");
    assert!(
        tried.contains(&format!("{USER}: would be added")),
        "{tried}"
    );
    place.ends(&["token", "show", USER], "", 65);
    let done = place.ok(&import, "");
    assert!(
        done.contains(&format!("{USER}: refresh token taken")),
        "{done}"
    );
    for said in [&tried, &done] {
        assert!(
            !said.contains(&secret) && !said.contains("planted"),
            "{said}"
        );
    }
    place.ok(&["token", "access", USER], "");

    // Again: what is there stays.
    let again = place.ok(&import, "");
    assert!(again.contains("was left alone"), "{again}");
    place.ends(
        &["token", "import", "--from", "mutt-oauth2", "-"],
        "no JSON",
        65,
    );
    place.ends(&["token", "import", &file, "--as", "x"], "", 64);
}

#[test]
fn a_token_config_is_edited_but_not_one_that_a_file_declares() {
    let pretend = Pretend::new();
    let place = Place::new(&pretend.declaration());
    let refused = place.ends(&["token", "edit", "t", "--scope", "more"], "", 65);
    assert!(refused.contains("declared in postern.yaml"), "{refused}");

    let add = [
        "token",
        "add",
        "g",
        "--template",
        "google",
        "--client-id",
        "c",
    ];
    place.ok(&add, "planted\n");
    let same = place.ok(&["token", "edit", "g", "--client-id", "c"], "");
    assert!(same.contains("the same already"), "{same}");
    let edit = [
        "token",
        "edit",
        "g",
        "--client-id",
        "d",
        "--client-secret",
        "--scope",
        "a b",
        "--revoke",
        "https://id.example.com/revoke",
        "--valid",
        "false",
        "--notify-expired-token",
        "true",
    ];
    place.ends(&edit, "\n", 65);
    place.ok(&edit, "newer\n");
    let text = place.ok(&["token", "export", "g"], "");
    for line in [
        "ClientID: d",
        "ClientSecret: newer",
        "Scope: a b",
        "Revoke: https://id.example.com/revoke",
        "ValidID: 2",
        "NotifyOnExpiredToken: 1",
        "TemplateName: google",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let wrong = place.ends(
        &["token", "edit", "g", "--token", "http://id.example.com/"],
        "",
        65,
    );
    assert!(
        wrong.contains("--token: expected an https:// URL"),
        "{wrong}"
    );
    place.ends(&["token", "edit", "nowhere", "--scope", "x"], "", 65);
}

#[test]
fn what_a_new_token_config_lacks_is_said_by_its_argument() {
    let place = Place::new("");
    let google = [
        "token",
        "add",
        "g",
        "--template",
        "google",
        "--client-id",
        "c",
    ];
    let refused = place.ends(&google, "\n", 65);
    assert!(refused.contains("--public-client"), "{refused}");
    place.ok(&[&google[..], &["--public-client"]].concat(), "");

    let generic = [
        "token",
        "add",
        "x",
        "--template",
        "generic",
        "--client-id",
        "c",
        "--scope",
        "s",
    ];
    let refused = place.ends(&generic, "secret\n", 65);
    assert!(
        refused.contains("(--discovery)") && !refused.contains("endpoints."),
        "{refused}"
    );

    let robot = ["token", "add", "r", "--template", "google-service-account"];
    place.ends(&robot, "", 64);
    let key = r#""-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----""#;
    let file = place.put(
        "robot.json",
        &format!(r#"{{"client_email": "robot@example.com", "private_key": {key}}}"#),
    );
    let added = place.ok(&[&robot[..], &["--service-account", &file]].concat(), "");
    assert!(added.contains("--user ADDRESS"), "{added}");
    let shown = place.ok(&["token", "show", "r", "--json"], "");
    assert!(!shown.contains("planted"), "{shown}");
    let text = place.ok(&["token", "export", "r"], "");
    assert!(
        text.contains("Flow: ServiceAccount") && text.contains("planted"),
        "{text}"
    );
}

#[test]
fn a_template_with_a_mistake_is_named_with_its_line_and_stops_no_other() {
    let place = Place::new("");
    std::fs::create_dir(place.path("templates")).unwrap();
    place.put(
        "templates/broken.yaml",
        "- Name: broken\n  Config:\n    Scope: mail\n    Postern: {Flow: Magic}\n",
    );
    let good = place.ok(&["token", "templates"], "");
    let place_of_it = "templates/broken.yaml:4:21: [1].Config.Postern.Flow: expected one of";
    assert!(good.contains(place_of_it), "{good}");
    assert!(
        good.contains("microsoft-tenant") && !good.contains("broken  "),
        "{good}"
    );
    let one = place.ok(&["token", "templates", "microsoft-tenant"], "");
    for words in [
        "flows:     authorization_code, device_code, password",
        "variable:  TenantID: The directory",
        "smtp:      smtp.office365.com:587 (STARTTLS)",
        "\n1. Open https://entra.microsoft.com",
    ] {
        assert!(one.contains(words), "{words}: {one}");
    }
    place.ends(&["token", "templates", "broken"], "", 65);
    let checked = place.run(&["check"], "");
    let checked = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.contains(place_of_it), "{checked}");
}
