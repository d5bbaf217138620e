//! The admin page in a real Chromium: page and provider are two sites, `localhost` and `127.0.0.1`. Screenshots stay in the target folder.

use crate::harness::browser::Chromium;
use crate::harness::postern::{Daemon, Setup};
use crate::harness::rig::Rig;
use crate::harness::{eventually, free_port};
use std::time::Duration;

const PASSWORD: &str = "correct horse battery staple";
const USER: &str = "desk@sandbox.test";
const PASSPHRASE: &str = "a passphrase of many words";
/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(40);
const ACCOUNTS: &str = "token_configs: []\nmailboxes: []\n";

/// A daemon with its page at `localhost`, and a browser in which an administrator has come in by a one-time link.
struct Desk {
    rig: Rig,
    setup: Setup,
    _daemon: Daemon,
    page: String,
    browser: Chromium,
}

impl Desk {
    fn new(shots: &str) -> Self {
        let rig = Rig::new(Duration::from_secs(600));
        rig.provider
            .put_mail(USER, b"Subject: one\r\n\r\n".to_vec());
        let port = free_port();
        let page = format!("http://localhost:{port}");
        let mut setup = Setup::new(&rig, "");
        setup.web = format!("{{listen: '127.0.0.1:{port}', public_url: '{page}'}}");
        setup.write(ACCOUNTS);
        let daemon = setup.start();
        let link = setup.ok(&["admin", "link"], "");
        let mut browser = Chromium::start(shots);
        browser.open(link.trim());
        browser.fill("New password", PASSWORD);
        browser.fill("The same again", PASSWORD);
        browser.shot("welcome");
        browser.press("Set the password and go on");
        browser.sees("First steps");
        Self {
            rig,
            setup,
            _daemon: daemon,
            page,
            browser,
        }
    }

    /// Opens a page again and again until it says this.
    fn comes_to_see(&mut self, path: &str, words: &str) {
        let words = format!("document.body.innerText.includes({words:?})");
        let url = format!("{}{path}", self.page);
        let browser = &mut self.browser;
        eventually(&words.clone(), SOON, || {
            browser.open(&url);
            browser.value(&words) == true
        });
    }

    fn open(&mut self, path: &str) {
        self.browser.open(&format!("{}{path}", self.page));
    }

    /// Adds a token config of the pretend provider.
    fn add(&mut self, name: &str) {
        let (id, secret) = self.rig.provider.client();
        let issuer = self.rig.provider.url();
        let browser = &mut self.browser;
        browser.open(&format!("{}/tokens/add?template=generic", self.page));
        browser.fill("Name", name);
        browser.fill("Client ID", &id);
        browser.fill("Client secret", &secret);
        browser.fill("Access token scope", "mail offline_access");
        browser.fill("OpenID Connect issuer", &issuer);
        browser.fill("Expired token", "1");
        browser.fill("Expired refresh token", "1");
        browser.press("Save");
        browser.sees(&format!("The token config {name} was added."));
    }
}

#[test]
fn from_the_first_start_to_a_token_its_renewal_and_signing_out() {
    let mut desk = Desk::new("first-start");
    desk.browser.shot("start");
    desk.browser.press("Add by template");
    desk.browser.sees("A template knows a provider");
    desk.browser.shot("templates-to-choose");
    desk.open("/tokens/add?template=microsoft-tenant");
    desk.browser.press("Save");
    desk.browser.sees("Nothing was saved yet.");
    desk.browser.shot("add-with-mistakes");
    desk.add("support");

    // Consent at the provider, which is another site.
    desk.browser.press("Request new token for support");
    desk.browser.sees("Allow access to your mail?");
    desk.browser.press("Refuse");
    desk.browser.sees("access_denied");
    desk.browser
        .sees("The current token, if there is one, was kept.");
    desk.browser.shot("refused");
    desk.browser.press("Request new token for support");
    desk.browser.sees("Allow access to your mail?");
    desk.browser.press(&format!("Allow as {USER}"));
    desk.browser.sees("The new token of support is here.");
    desk.browser
        .wait_until("location.pathname === '/tokens' && location.search === ''");
    desk.browser.shot("tokens");
    desk.browser.press("Refresh now the token of support");
    desk.browser.sees("The token of support was refreshed.");

    // Another site's link leads to the page and not to a form to sign in again, although the cookie does not come along at first.
    desk.browser
        .open(&format!("{}/device", desk.rig.provider.url()));
    desk.browser.sees("Which code does your device show?");
    let tokens = format!("{}/tokens", desk.page);
    desk.browser
        .value(&format!("location.href = '{tokens}', 1"));
    desk.browser.sees("OAuth2 token configurations");

    // The overview follows by itself: a mailbox appears, fetches, and its message is counted.
    desk.open("/");
    desk.browser.sees("No mailbox and no relay is set up yet.");
    add_mailbox(&desk);
    desk.browser.sees("Mail flows.");
    desk.browser.sees("1 delivered so far");
    desk.browser.wait_until("[...document.querySelectorAll('.chart')].some(c => c.getAttribute('aria-label').includes('1 in all'))");

    look_at_every_page(&mut desk);
    desk.open("/tokens");
    desk.browser.press("Sign out");
    desk.browser.sees("You are signed out.");
    desk.browser.shot("sign-in");
    desk.open("/tokens");
    desk.browser.sees("Sign in");
    desk.browser.fill("Name", "admin");
    desk.browser.fill("Password", PASSWORD);
    desk.browser.press("Sign in");
    desk.browser.sees("OAuth2 token configurations");
    desk.browser.never_complained();
}

fn look_at_every_page(desk: &mut Desk) {
    for (path, name) in [
        ("/", "overview"),
        ("/mailboxes", "mailboxes-empty"),
        ("/relays", "relays-empty"),
        ("/templates", "templates"),
        ("/templates?name=microsoft-tenant", "template"),
        ("/log", "log"),
        ("/settings", "settings"),
        ("/settings/second-factor", "second-factor"),
        ("/tokens/transfer", "transfer"),
        ("/nowhere", "not-found"),
    ] {
        desk.open(path);
        desk.browser.shot(name);
    }
}

#[test]
fn edit_delete_export_wipe_and_import_and_what_notices_lead_to() {
    let mut desk = Desk::new("tokens");
    desk.add("support");
    desk.add("second");
    desk.browser.press("Request new token for support");
    desk.browser.press(&format!("Allow as {USER}"));
    desk.browser.sees("The new token of support is here.");

    a_notice_leads_to_its_token(&mut desk);

    // With a code on another device; the page waits and goes on by itself.
    desk.browser
        .press_in("#token-second", "Other ways to request a token for second");
    desk.browser
        .press_in("#token-second", "With a code on any device");
    desk.browser.sees("Sign in on any device");
    desk.browser.shot("device");
    let code = desk.rig.provider.device_codes().remove(0);
    assert!(desk.rig.provider.answer_device(&code, Some(USER)));
    desk.browser.sees("The new token of second is here.");

    edit(&mut desk);

    delete(&mut desk);

    // Export, wipe, import; first left alone, then overwritten.
    let file = exported(&mut desk);
    desk.setup.ok(&["mailbox", "delete", "desk"], "");
    desk.open("/tokens/delete?name=support");
    desk.browser.press("Delete for good");
    desk.browser.sees("There is no token config yet.");
    for (overwrite, preview, done) in [
        (
            "",
            "would be added",
            "Imported: 1 added, 0 changed, 0 left alone.",
        ),
        ("", "exists, and would be left alone", ""),
        ("1", "is the same already", ""),
    ] {
        desk.open("/tokens/transfer");
        desk.browser.choose_file("file", &file);
        desk.browser.fill("Passphrase of the file", PASSPHRASE);
        desk.browser
            .fill("Overwrite token configs of the same name", overwrite);
        desk.browser.press("See what would be done");
        desk.browser.sees(preview);
        if !done.is_empty() {
            desk.browser.shot("preview");
            desk.browser.press("Apply");
            desk.browser.sees(done);
        }
    }
    desk.open("/tokens");
    desk.browser.press("Refresh now the token of support");
    desk.browser.sees("The token of support was refreshed.");
    desk.browser.never_complained();
}

fn a_notice_leads_to_its_token(desk: &mut Desk) {
    // A grant that was taken back: a notice on every page leads to the token, and one more press renews it.
    desk.rig.provider.revoke(USER);
    desk.browser.press("Refresh now the token of support");
    desk.browser.sees("Not refreshed");
    desk.comes_to_see("/settings", "What to do:");
    desk.browser.press("Token support");
    desk.browser.wait_until(
        "location.hash === '#token-support' && document.querySelector(':target') !== null",
    );
    desk.browser.shot("notice");
    desk.browser.press("Request new token for support");
    desk.browser.press(&format!("Allow as {USER}"));
    desk.browser.sees("The new token of support is here.");
    desk.browser.sees_not("What to do:");
}

fn edit(desk: &mut Desk) {
    let (_, secret) = desk.rig.provider.client();
    // Edit: the secret is never sent to the browser, and an empty field keeps it.
    desk.browser.press("Edit second");
    desk.browser.sees("Left empty, the stored one is kept.");
    assert!(!desk.browser.html().contains(&secret));
    desk.browser.fill("Access token scope", "");
    desk.browser.fill("Client ID", "typed");
    desk.browser.press("Save");
    desk.browser.sees("Nothing was saved yet.");
    let typed = desk
        .browser
        .value("document.getElementById('client_id').value");
    assert_eq!(typed, "typed");
    desk.browser.shot("edit-with-mistakes");
    let (id, _) = desk.rig.provider.client();
    desk.browser.fill("Client ID", &id);
    desk.browser.fill("Access token scope", "mail");
    desk.browser.press("Save");
    desk.browser.sees("The token config second was changed.");
}

/// By the command line: a mailbox that signs in with the token config.
fn add_mailbox(desk: &Desk) {
    let port = desk.rig.provider.imap().port().to_string();
    let maildir = desk.rig.path().join("mail").display().to_string();
    let mailbox = [
        "mailbox",
        "add",
        "desk",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--tls",
        "none",
        "--user",
        USER,
        "--token",
        "support",
        "--maildir",
        &maildir,
    ];
    desk.setup.ok(&mailbox, "");
}

fn delete(desk: &mut Desk) {
    // Delete: refused while a mailbox uses it.
    add_mailbox(desk);
    desk.browser.press("Delete support");
    desk.browser.sees("mailbox desk");
    desk.browser.shot("delete-refused");
    desk.browser.press("Back");
    desk.browser.press("Delete second");
    desk.browser.sees("nothing uses it");
    desk.browser.shot("delete");
    desk.browser.press("Delete for good");
    desk.browser.sees("The token config second was deleted.");
}

/// The token configs with their refresh tokens, sealed, in a file that the browser was given.
fn exported(desk: &mut Desk) -> std::path::PathBuf {
    let folder = desk.browser.downloads();
    desk.open("/tokens/transfer");
    desk.browser.press("With secrets, sealed with a passphrase");
    desk.browser.fill("Refresh tokens too, if sealed", "1");
    desk.browser.fill("Passphrase", PASSPHRASE);
    desk.browser.fill("Passphrase again", PASSPHRASE);
    desk.browser.fill("Your own password", PASSWORD);
    desk.browser.press("Export");
    let found = || {
        let mut files = std::fs::read_dir(&folder).unwrap();
        let path = files.next()?.unwrap().path();
        let name = path.file_name()?.to_str()?;
        (name.starts_with("PosternTokenConfigs_") && name.ends_with(".yml")).then_some(path)
    };
    eventually("the file was downloaded", SOON, || found().is_some());
    let path = found().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\nPosternSealed:"), "{text}");
    path
}

#[test]
fn who_has_no_mouse_reaches_everything_and_sees_where_they_are() {
    let mut desk = Desk::new("keyboard");
    desk.open("/tokens/add?template=generic");
    desk.browser.value("document.activeElement.blur(), 1");
    desk.browser.tab();
    let skip = desk.browser.value("document.activeElement.textContent");
    assert_eq!(skip, "Skip to the content");
    let mut reached = Vec::new();
    for _ in 0..60 {
        desk.browser.tab();
        let outline = desk.browser.value(
            "getComputedStyle(document.activeElement).outlineStyle !== 'none' || document.activeElement === document.body",
        );
        let at = desk
            .browser
            .value("document.activeElement.id || document.activeElement.textContent.trim()");
        assert_eq!(outline, true, "{at} has the focus and does not show it");
        reached.push(at.as_str().unwrap_or_default().to_owned());
    }
    for name in [
        "Settings",
        "Sign out",
        "name",
        "client_id",
        "client_secret",
        "validity",
        "Advanced: endpoints",
        "Save",
        "Cancel",
    ] {
        assert!(
            reached.iter().any(|at| at == name),
            "{name} is not in {reached:?}"
        );
    }
    desk.browser.never_complained();
}
