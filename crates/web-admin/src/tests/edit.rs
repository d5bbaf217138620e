//! *Edit* and *Delete* of a token config, and the code for another device.

use super::*;

impl World {
    /// The edit form's fields as a browser sends them back, with some of them typed over.
    async fn edited(&self, browser: &mut Browser, name: &str, typed: &[(&str, &str)]) -> Answer {
        let page = browser.get(&format!("/tokens/edit?name={name}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let (client_id, _) = self.provider.client();
        let csrf = page.field("csrf");
        let mut fields = vec![
            ("csrf", csrf.as_str()),
            ("name", name),
            ("client_id", &client_id),
            ("client_secret", ""),
            ("scope", "mail offline_access"),
            ("validity", "valid"),
            ("notify_expired_refresh_token", "1"),
        ];
        let issuer = self.provider.url();
        fields.push(("endpoints.discovery", &issuer));
        fields.retain(|(name, _)| typed.iter().all(|(typed, _)| typed != name));
        fields.extend(typed);
        browser.post("/tokens/edit", &fields).await
    }

    fn secret_of(&self, name: &str) -> String {
        let config = self.store().token_config(name).unwrap().unwrap();
        config.entry.config.client_secret.expose().to_owned()
    }
}

#[tokio::test]
async fn an_edit_keeps_what_was_not_typed_and_the_secret_never_comes_to_the_browser() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let (client_id, secret) = world.provider.client();
    let page = browser.get("/tokens/edit?name=support").await;
    page.shows(&format!("value=\"{client_id}\""));
    page.shows("Left empty, the stored one is kept.");
    page.shows("<p class=\"value\"><code>generic</code></p>");
    page.hides("name=\"template\"");
    page.hides(&secret);

    let answer = world.edited(&mut browser, "support", &[]).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let page = browser.get("/tokens").await;
    page.shows("The token config support was the same already.");
    assert_eq!(world.secret_of("support"), secret);

    let typed = [("scope", "mail"), ("validity", "invalid")];
    world.edited(&mut browser, "support", &typed).await;
    let page = browser.get("/tokens").await;
    page.shows("The token config support was changed.");
    page.shows("data-label=\"Validity\">invalid<");
    let config = world.store().token_config("support").unwrap().unwrap();
    assert_eq!(config.entry.config.scope, "mail");
    assert_eq!(world.secret_of("support"), secret);

    world
        .edited(&mut browser, "support", &[("client_secret", "newer")])
        .await;
    assert_eq!(world.secret_of("support"), "newer");
    world
        .edited(&mut browser, "support", &[("public_client", "1")])
        .await;
    assert_eq!(world.secret_of("support"), "");
    let audit = world.store().audited(1).unwrap();
    assert_eq!(audit[0].what, "changed the token config support");
}

#[tokio::test]
async fn mistakes_of_an_edit_are_shown_at_their_fields_and_nothing_is_changed() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let before = world.store().token_config("support").unwrap();
    let typed = [
        ("client_id", ""),
        ("client_secret", "typed-secret"),
        ("scope", "<b>odd</b>"),
        ("endpoints.discovery", "http://plain.example"),
    ];
    let answer = world.edited(&mut browser, "support", &typed).await;
    assert_eq!(answer.status, 422);
    for field in ["client_id", "endpoints.discovery"] {
        answer.shows(&format!("<a href=\"#{field}\">"));
        answer.shows(&format!("id=\"{field}-mistake\""));
    }
    answer.shows("value=\"&#60;b&#62;odd&#60;/b&#62;\"");
    answer.shows("value=\"http://plain.example\"");
    answer.shows("<details class=\"advanced\" open>");
    answer.hides("typed-secret");
    assert_eq!(world.store().token_config("support").unwrap(), before);
}

#[tokio::test]
async fn another_client_leaves_the_token_aside_and_says_what_to_do() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let seeded = world
        .parts
        .tokens
        .seed("support", Secret::new("refresh-1"))
        .await;
    seeded.unwrap();
    world
        .edited(&mut browser, "support", &[("client_id", "another")])
        .await;
    let page = browser.get("/tokens").await;
    page.shows("Request a new token");
    page.shows("no token was requested yet");
}

#[tokio::test]
async fn what_a_mailbox_uses_is_not_deleted_and_the_mailbox_is_named() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let user = mailbox(
        "desk",
        "desk@example.com",
        Auth::Token("support".to_owned()),
    );
    let accounts = Declared {
        mailboxes: vec![user],
        ..Declared::default()
    };
    world.store().declare("a.yaml", accounts).await.unwrap();
    let page = browser.get("/tokens/delete?name=support").await;
    page.shows("<li>mailbox desk</li>");
    page.hides("Delete for good");
    let csrf = page.field("csrf");
    let fields = [("csrf", csrf.as_str()), ("name", "support")];
    browser.post("/tokens/delete", &fields).await;
    let page = browser.get("/tokens").await;
    page.shows("is used by mailbox desk");
    assert!(world.store().token_config("support").unwrap().is_some());

    world
        .store()
        .declare("a.yaml", Declared::default())
        .await
        .unwrap();
    let page = browser.get("/tokens/delete?name=support").await;
    page.shows("nothing uses it");
    page.shows("Delete for good");
    browser.post("/tokens/delete", &fields).await;
    let page = browser.get("/tokens").await;
    page.shows("The token config support was deleted.");
    assert!(world.store().token_config("support").unwrap().is_none());
    browser.post("/tokens/delete", &fields).await;
    browser
        .get("/tokens")
        .await
        .shows("Nothing was changed: there is no token config named support.");
    assert_eq!(browser.get("/tokens/delete?name=support").await.status, 404);
}

#[tokio::test]
async fn what_a_file_declares_is_neither_edited_nor_deleted_here() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "made").await;
    let entry = world.store().token_config("made").unwrap().unwrap().entry;
    let mut declared = entry.clone();
    declared.name = "declared".to_owned();
    let file = Declared {
        token_configs: vec![("generic".to_owned(), declared)],
        ..Declared::default()
    };
    world.store().declare("a.yaml", file).await.unwrap();
    let page = browser.get("/tokens").await;
    page.shows("/postern/tokens/edit?name=made");
    page.hides("/postern/tokens/edit?name=declared");
    let csrf = page.field("csrf");
    let fields = [("csrf", csrf.as_str()), ("name", "declared")];
    for path in ["/tokens/edit", "/tokens/delete"] {
        browser.get(&format!("{path}?name=declared")).await;
        let words = "declared is declared in a.yaml; change it there";
        browser.get("/tokens").await.shows(words);
        browser.post(path, &fields).await;
        browser.get("/tokens").await.shows(words);
    }
    let config = world.store().token_config("declared").unwrap();
    assert_eq!(config.unwrap().entry.config, entry.config);
}

#[tokio::test]
async fn a_device_code_comes_with_link_and_picture_and_its_state_can_be_asked_for() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let state = |answer: Answer| (answer.status, answer.body);
    let nothing = browser.get("/tokens/device/state?name=support").await;
    assert_eq!(state(nothing), (200, "over".to_owned()));
    let csrf = browser.csrf().await;
    let fields = [
        ("csrf", csrf.as_str()),
        ("name", "support"),
        ("way", "device"),
    ];
    let answer = browser.post("/tokens/request", &fields).await;
    assert_eq!(
        answer.header("location"),
        "/postern/tokens/device?name=support"
    );
    let page = browser.get("/tokens/device?name=support").await;
    page.shows("<svg class=\"qr\"");
    page.shows("data-wait=\"/postern/tokens/device/state?name=support\"");
    page.shows("<noscript><meta http-equiv=\"refresh\"");
    let waiting = browser.get("/tokens/device/state?name=support").await;
    assert_eq!(state(waiting), (200, "waiting".to_owned()));
}
