//! Backup and migration: out, and in again.

use super::*;
use token_store::TokenId;
use token_store::transfer::sealed;

const PASSPHRASE: &str = "a passphrase of many words";

impl Browser {
    /// A form with a file in it.
    async fn upload(&mut self, path: &str, fields: &[(&str, &str)], file: &str) -> Answer {
        let mut body = String::new();
        for (name, value) in fields {
            body.push_str(&format!(
                "--B0undary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            ));
        }
        body.push_str(&format!(
            "--B0undary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.yml\"\r\n\r\n{file}\r\n--B0undary--\r\n"
        ));
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nConnection: close\r\nHost: {}\r\nCookie: {}\r\n\
             Content-Type: multipart/form-data; boundary=B0undary\r\nContent-Length: {}\r\n\r\n",
            self.address,
            cookies.join("; "),
            body.len()
        );
        exchange(self.address, format!("{head}{body}").as_bytes()).await
    }

    async fn export(&mut self, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf().await;
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend(fields);
        self.post("/tokens/export", &all).await
    }

    async fn preview(&mut self, fields: &[(&str, &str)], file: &str) -> Answer {
        let csrf = self.csrf().await;
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend(fields);
        self.upload("/tokens/import", &all, file).await
    }

    async fn apply(&mut self, preview: &Answer) -> Answer {
        let (csrf, id) = (preview.field("csrf"), preview.field("id"));
        let fields = [("csrf", csrf.as_str()), ("id", &id)];
        self.post("/tokens/import/apply", &fields).await;
        self.get("/tokens").await
    }
}

/// Two token configs, one of them with a refresh token.
async fn two() -> (World, Browser) {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "one").await;
    world.add_config(&mut browser, "two").await;
    let seeded = world
        .parts
        .tokens
        .seed("one", Secret::new("planted-refresh"));
    seeded.await.unwrap();
    (world, browser)
}

#[tokio::test]
async fn an_export_asks_for_the_password_again_and_is_named_after_the_time() {
    let (world, mut browser) = two().await;
    let (_, secret) = world.provider.client();
    let refused = browser
        .export(&[
            ("which", "all"),
            ("secrets", "without"),
            ("password", "guess"),
        ])
        .await;
    assert_eq!(refused.status, 422);
    refused.shows("Your password is wrong.");
    refused.hides("guess");
    let file = browser
        .export(&[
            ("which", "all"),
            ("secrets", "without"),
            ("password", PASSWORD),
        ])
        .await;
    assert_eq!(file.status, 200, "{}", file.body);
    let disposition = file.header("content-disposition");
    let name = disposition
        .strip_prefix("attachment; filename=\"PosternTokenConfigs_")
        .unwrap();
    assert_eq!(name.len(), "YYYYMMDD_HHMMSS.yml\"".len(), "{name}");
    file.hides(&secret);
    let entries = provider_template::read(&file.body).unwrap();
    let names: Vec<_> = entries.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["one", "two"]);
    let audit = &world.store().audited(1).unwrap()[0].what;
    assert_eq!(audit, "exported one, two (without secrets)");
}

#[tokio::test]
async fn chosen_ones_are_sealed_with_secrets_and_tokens() {
    let (world, mut browser) = two().await;
    let (_, secret) = world.provider.client();
    let mut fields = vec![
        ("which", "chosen"),
        ("secrets", "sealed"),
        ("with_tokens", "1"),
        ("passphrase", PASSPHRASE),
        ("repeated", PASSPHRASE),
        ("password", PASSWORD),
    ];
    browser
        .export(&fields)
        .await
        .shows("Tick at least one token config");
    fields.push(("config", "one"));
    let mut short = fields.clone();
    short[3].1 = "short";
    browser
        .export(&short)
        .await
        .shows("The two passphrases differ.");
    short[4].1 = "short";
    let page = browser.export(&short).await;
    page.shows("at least 12 characters");
    page.shows("name=\"config\" value=\"one\" checked");
    let file = browser.export(&fields).await;
    assert_eq!(file.status, 200, "{}", file.body);
    file.hides(&secret);
    file.hides("planted-refresh");
    let parcel = sealed::open(&file.body, &Secret::new(PASSPHRASE)).unwrap();
    assert_eq!(parcel.entries.len(), 1);
    assert_eq!(parcel.entries[0].config.client_secret.expose(), secret);
    assert_eq!(parcel.tokens[0].refresh_token.expose(), "planted-refresh");
}

#[tokio::test]
async fn what_was_wiped_comes_back_from_a_sealed_file() {
    let (world, mut browser) = two().await;
    let fields = [
        ("which", "all"),
        ("secrets", "sealed"),
        ("with_tokens", "1"),
        ("passphrase", PASSPHRASE),
        ("repeated", PASSPHRASE),
        ("password", PASSWORD),
    ];
    let file = browser.export(&fields).await.body;
    let before = world.store().token_configs().unwrap();
    for name in ["one", "two"] {
        world.store().delete_token_config(name).await.unwrap();
    }
    browser
        .preview(&[], &file)
        .await
        .shows("The file is sealed: type its passphrase");
    browser
        .preview(&[("passphrase", "another passphrase")], &file)
        .await
        .shows("the passphrase is wrong");
    let preview = browser.preview(&[("passphrase", PASSPHRASE)], &file).await;
    preview.shows("would be added");
    preview.shows("Refresh token of one");
    preview.shows("would be taken");
    preview.hides("planted-refresh");
    assert!(world.store().token_configs().unwrap().is_empty());
    let page = browser.apply(&preview).await;
    page.shows("Imported: 2 added, 0 changed, 0 left alone.");
    assert_eq!(world.store().token_configs().unwrap(), before);
    let tokens = world.store().export_tokens(None).unwrap();
    assert_eq!(tokens[0].id, TokenId::of("one"));
    let again = [("csrf", preview.field("csrf")), ("id", preview.field("id"))];
    let again: Vec<_> = again.iter().map(|(k, v)| (*k, v.as_str())).collect();
    browser.post("/tokens/import/apply", &again).await;
    browser
        .get("/tokens/transfer")
        .await
        .shows("the file waits no longer");
}

#[tokio::test]
async fn an_import_overwrites_only_where_it_was_asked_to_and_never_takes_a_secret_away() {
    let (world, mut browser) = two().await;
    let (_, secret) = world.provider.client();
    let mut entries = world.store().export(None).unwrap();
    entries[0].config.scope = "changed".to_owned();
    entries.truncate(1);
    let file = provider_template::write(&entries, false);
    let scope = || {
        let config = world.store().token_config("one").unwrap().unwrap();
        assert_eq!(config.entry.config.client_secret.expose(), secret);
        config.entry.config.scope
    };
    let preview = browser.preview(&[], &file).await;
    preview.shows("exists, and would be left alone");
    preview.shows("Nothing would change.");
    preview.hides("name=\"id\"");
    let preview = browser.preview(&[("overwrite", "1")], &file).await;
    preview.shows("would be changed");
    assert_ne!(scope(), "changed");
    let mut stranger = world.signed_in().await;
    stranger.apply(&preview).await;
    assert_ne!(scope(), "changed", "another session");
    let page = browser.apply(&preview).await;
    page.shows("Imported: 0 added, 1 changed, 0 left alone.");
    assert_eq!(scope(), "changed");
    assert_eq!(world.store().audited(1).unwrap()[0].what, "imported one");
}

#[tokio::test]
async fn a_broken_file_is_refused_whole_with_line_and_reason_and_quotes_nothing_of_it() {
    let (world, mut browser) = two().await;
    let before = world.store().token_configs().unwrap();
    let entries = world.store().export(None).unwrap();
    let good = provider_template::write(&entries, true);
    let twice = format!("{good}{good}");
    for (file, words) in [
        (
            "- Name: new\n  Config:\n    ClientSecret: [planted\n",
            "The file is refused as a whole: line ",
        ),
        ("- Name: new\n  ValidID: 1\n", "line 1"),
        (&*twice, "it is in the document twice"),
        ("   \n", "Choose a file, or paste its content."),
    ] {
        let answer = browser.preview(&[("overwrite", "1")], file).await;
        assert_eq!(answer.status, 422, "{file}");
        answer.shows(words);
        answer.shows("Nothing was changed.");
        answer.shows("name=\"overwrite\" value=\"1\" aria-describedby=\"overwrite-hint\" checked");
        answer.hides("planted");
    }
    assert_eq!(world.store().token_configs().unwrap(), before);
    let pasted = browser.preview(&[("document", good.as_str())], "").await;
    pasted.shows("Nothing would change.");
}

#[tokio::test]
async fn an_upload_needs_session_token_and_measure() {
    let (world, mut browser) = two().await;
    let mut stranger = world.browser();
    assert_eq!(
        stranger.upload("/tokens/import", &[], "x").await.status,
        401
    );
    assert_eq!(browser.upload("/tokens/import", &[], "x").await.status, 403);
    let large = "#".repeat(4 << 20);
    assert_eq!(
        browser.upload("/tokens/import", &[], &large).await.status,
        413
    );
    let csrf = browser.csrf().await;
    let plain = browser.post("/tokens/import", &[("csrf", &csrf)]).await;
    assert_eq!(plain.status, 400, "no multipart");
}
