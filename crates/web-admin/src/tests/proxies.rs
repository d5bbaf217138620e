//! Behind reverse proxies: whom they name, and from where their visitors come.

use super::*;

/// A world whose page believes its only peer, loopback.
async fn behind_proxy() -> World {
    let mut world = World::new().await;
    let proxies = Proxies {
        addresses: vec!["127.0.0.1".parse().unwrap()],
        socket: false,
        user_header: Some("x-remote-user".to_owned()),
    };
    world.serve_again(|parts| parts.proxies = proxies).await;
    world
}

#[tokio::test]
async fn a_trusted_proxys_user_is_signed_in_when_there_is_such_an_administrator() {
    let world = behind_proxy().await;
    let mut browser = world.browser();
    browser.headers = vec![
        ("X-Remote-User", "root".to_owned()),
        ("X-Forwarded-For", "192.0.2.7".to_owned()),
        ("User-Agent", "a browser".to_owned()),
    ];
    let answer = browser.get("/tokens").await;
    assert_eq!(answer.header("location"), "/postern/sign-in?next=/tokens");
    let answer = browser.get("/sign-in?next=/tokens").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/postern/tokens")
    );
    assert_eq!(browser.get("/tokens").await.status, 200);
    let audit = &world.store().audited(1).unwrap()[0];
    assert_eq!((&*audit.what, &*audit.source), ("signed in", "192.0.2.7"));
    let sessions = world.store().sessions().unwrap();
    assert_eq!(sessions[0].visitor.agent, "a browser");

    // The proxy has signed somebody else in by now: the session is not theirs.
    browser.headers[0].1 = "somebody".to_owned();
    assert_eq!(browser.get("/tokens").await.status, 303);
    let csrf_less = browser.post("/sign-out", &[]).await;
    assert_eq!(csrf_less.status, 401);
    let page = browser.get("/sign-in").await;
    page.shows("there is no administrator of that name here");
}

#[tokio::test]
async fn a_user_header_from_elsewhere_signs_nobody_in() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.headers = vec![("X-Remote-User", "root".to_owned())];
    let page = browser.get("/sign-in").await;
    page.shows("<h1>Sign in</h1>");
    assert!(world.store().sessions().unwrap().is_empty());
}

#[tokio::test]
async fn guesses_are_slowed_for_the_visitor_that_the_proxy_names_and_for_no_other() {
    let world = behind_proxy().await;
    let mut guesser = world.browser();
    guesser.headers = vec![("X-Forwarded-For", "192.0.2.7".to_owned())];
    let token = guesser.get("/sign-in").await.field("sign_in_token");
    let mut last = 0;
    for n in 0..21 {
        let name = format!("name{n}");
        let fields = [
            ("sign_in_token", token.as_str()),
            ("name", &name),
            ("password", "guess"),
        ];
        last = guesser.post("/sign-in", &fields).await.status;
    }
    assert_eq!(last, 429);
    world.signed_in().await;
}

#[tokio::test]
async fn a_page_that_another_site_links_to_is_asked_for_again_and_no_form_is() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    browser.get("/tokens").await.hides("http-equiv");
    // As a browser does with a strict cookie.
    let mut led = browser.clone();
    led.cookies.clear();
    led.headers = vec![("Sec-Fetch-Site", "cross-site".to_owned())];
    let page = led.get("/postern/tokens/edit?name=%22%3E%3Cb%3E").await;
    assert_eq!(page.status, 401);
    page.shows("content=\"0;url=/postern/tokens/edit?name=%22%3E%3Cb%3E\"");
    page.hides("csrf");
    assert_eq!(led.post("/sign-out", &[]).await.status, 401);
    led.headers[0].1 = "same-origin".to_owned();
    let page = led.get("/tokens").await;
    assert_eq!(page.header("location"), "/postern/sign-in?next=/tokens");
}

#[tokio::test]
async fn who_has_signed_out_meanwhile_gets_no_token() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let csrf = browser.csrf().await;
    let fields = [("csrf", csrf.as_str()), ("name", "support")];
    browser.post("/tokens/request", &fields).await;
    let consent = browser.cookies["postern-consent"].clone();
    browser.post("/sign-out", &fields).await;
    assert!(!browser.cookies.contains_key("postern-consent"));
    browser
        .cookies
        .insert("postern-consent".to_owned(), consent);
    let answer = browser.get("/oauth2/callback?code=c&state=s").await;
    assert_eq!(answer.status, 401);
    answer.shows("has not asked for a token");
}
