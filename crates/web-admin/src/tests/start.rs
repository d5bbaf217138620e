//! The one-time link, and the steps after it.

use super::*;

#[tokio::test]
async fn a_link_leads_through_a_password_to_the_first_steps() {
    let world = World::without_administrator().await;
    let key = world.store().make_admin_link("root").await.unwrap();
    let path = format!("/welcome/{}", key.expose());
    let mut browser = world.browser();
    let page = browser.get(&path).await;
    page.shows("<strong>root</strong>");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    for (password, repeated, words) in [
        ("short", "short", "at least 8 characters"),
        (PASSWORD, "another one", "The two passwords differ."),
    ] {
        let fields = [("password", password), ("repeated", repeated)];
        let answer = browser.post(&path, &fields).await;
        assert_eq!(answer.status, 422);
        answer.shows(words);
        answer.hides(password);
    }
    assert!(!world.store().has_admin().unwrap());
    let fields = [("password", PASSWORD), ("repeated", PASSWORD)];
    let answer = browser.post(&format!("/postern{path}"), &fields).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/postern/start")
    );
    let page = browser.get("/start").await;
    page.shows("You are signed in as root.");
    page.shows("href=\"/postern/tokens/add\"");
    page.shows("href=\"/postern/mailboxes\"");
    page.shows("href=\"/postern/relays\"");

    let mut other = world.browser();
    for answer in [other.get(&path).await, other.post(&path, &fields).await] {
        assert_eq!(answer.status, 410);
        answer.shows("This link has ended");
    }
    assert!(other.cookies.is_empty());
    world.signed_in().await;
}

#[tokio::test]
async fn a_link_of_another_site_sets_no_password() {
    let world = World::without_administrator().await;
    let key = world.store().make_admin_link("root").await.unwrap();
    let mut browser = world.browser();
    browser.headers = vec![("Origin", "https://evil.example".to_owned())];
    let fields = [("password", PASSWORD), ("repeated", PASSWORD)];
    let path = format!("/welcome/{}", key.expose());
    assert_eq!(browser.post(&path, &fields).await.status, 403);
    assert!(!world.store().has_admin().unwrap());
}

#[tokio::test]
async fn the_steps_follow_what_is_there() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    browser.get("/").await.shows("href=\"/postern/start\"");
    world.add_config(&mut browser, "support").await;
    let page = browser.get("/start").await;
    page.shows("Request its token now");
    let seeded = world.parts.tokens.seed("support", Secret::new("r"));
    seeded.await.unwrap();
    let token = Auth::Token("support".to_owned());
    let accounts = declared(
        mailbox("desk", "desk@example.com", token.clone()),
        relay("out", "desk@example.com", token),
    );
    world.store().declare("a.yaml", accounts).await.unwrap();
    let page = browser.get("/start").await;
    for words in [
        "support has a token.",
        "desk is set up.",
        "out is set up.",
        "All is set up.",
    ] {
        page.shows(words);
    }
}
