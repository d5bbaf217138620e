//! From *Request new token* over the provider and back.

use super::*;
use sandbox::{Fault, Service};

/// The provider's URL behind the page that leads there.
fn way_out(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let rest = answer.body.split_once("content=\"0;url=").unwrap().1;
    let url = rest.split('"').next().unwrap().replace("&#38;", "&");
    answer.shows("On the way to the provider");
    url
}

async fn ask(browser: &mut Browser, name: &str) -> String {
    let csrf = browser.csrf().await;
    way_out(
        &browser
            .post("/tokens/request", &[("csrf", &csrf), ("name", name)])
            .await,
    )
}

/// The person at the provider: allows, or refuses; the path that the provider redirects to.
async fn at_provider(world: &World, url: &str, choice: &str) -> String {
    let path = url.strip_prefix(&world.provider.url()).unwrap();
    let request = format!(
        "GET {path}&{choice} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        world.provider.oauth()
    );
    let answer = exchange(world.provider.oauth(), request.as_bytes()).await;
    let back = answer.header("location").to_owned();
    back.strip_prefix(&format!("http://{}", world.address))
        .unwrap()
        .to_owned()
}

const ALLOW: &str = "login_hint=support@sandbox.test";

#[tokio::test]
async fn a_token_is_requested_granted_and_refreshed_from_the_page() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let answer = world.add_config(&mut browser, "support").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/postern/tokens"),
        "{}",
        answer.body
    );
    let page = browser.get("/tokens").await;
    page.shows("The token config support was added.");
    page.shows("no token was requested yet");
    page.hides("Refresh now</button>");
    browser.get("/tokens").await.hides("was added");

    let url = ask(&mut browser, "support").await;
    assert!(url.contains("code_challenge_method=S256"), "{url}");
    let back = at_provider(&world, &url, ALLOW).await;
    let answer = browser.get(&back).await;
    assert_eq!(answer.status, 200);
    answer.shows("content=\"0;url=/postern/tokens\"");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    let page = browser.get("/tokens").await;
    page.shows("The new token of support is here.");
    page.shows("state good\">valid until ");
    page.shows("valid, no end date known");

    let csrf = page.field("csrf");
    let answer = browser
        .post("/tokens/refresh", &[("csrf", &csrf), ("name", "support")])
        .await;
    assert_eq!(answer.status, 303);
    browser
        .get("/tokens")
        .await
        .shows("The token of support was refreshed.");
    assert_eq!(world.provider.counts().refreshes, 1);
    assert_eq!(*world.daemon.0.lock().unwrap(), ["support"; 3]);
    let audit: Vec<_> = world
        .store()
        .audited(10)
        .unwrap()
        .into_iter()
        .rev()
        .map(|a| a.what)
        .collect();
    assert_eq!(
        audit,
        [
            "signed in",
            "added the token config support (generic)",
            "went to the provider for a new token of support",
            "got a new token for support",
            "refreshed the token of support",
        ]
    );
}

#[tokio::test]
async fn the_providers_refusal_is_shown_in_its_own_words() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let url = ask(&mut browser, "support").await;
    let back = at_provider(&world, &url, "deny=1").await;
    assert_eq!(browser.get(&back).await.status, 200);
    let page = browser.get("/tokens").await;
    page.shows("role=\"alert\"");
    page.shows("access_denied");
    page.shows("the person refused");
    page.shows("The current token, if there is one, was kept.");
}

#[tokio::test]
async fn a_callback_counts_once_and_only_for_the_session_that_asked() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let url = ask(&mut browser, "support").await;
    let back = at_provider(&world, &url, ALLOW).await;

    let stranger = world.browser().get(&back).await;
    assert_eq!(stranger.status, 401);
    stranger.shows("has not asked for a token");
    // Another session, and one that asked for another token.
    let mut other = world.signed_in().await;
    assert_eq!(other.get(&back).await.status, 401);
    ask(&mut other, "support").await;
    assert_eq!(other.get(&back).await.status, 200);
    other
        .get("/tokens")
        .await
        .shows("belongs to another browser");

    // The provider is another site: the session's cookie stays behind, and the consent's alone comes along.
    let mut led = browser.clone();
    led.cookies.remove("postern");
    assert_eq!(led.get(&back).await.status, 200);
    browser
        .get("/tokens")
        .await
        .shows("The new token of support is here.");
    browser.get(&back).await;
    browser.get("/tokens").await.shows("was used already");
    for nonsense in ["?state=x&code=y", "?code=y", "?state=a&state=b", ""] {
        let answer = browser.get(&format!("/oauth2/callback{nonsense}")).await;
        assert_eq!(answer.status, 200, "{nonsense}");
        browser
            .get("/tokens")
            .await
            .shows("No new token: this sign-in link is unknown");
    }
}

#[tokio::test]
async fn the_accounts_user_is_proposed_to_the_provider() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let token = Auth::Token("support".to_owned());
    let accounts = declared(
        mailbox("support", "desk@sandbox.test", token.clone()),
        relay("support", "desk@sandbox.test", token),
    );
    world
        .store()
        .declare("postern.yaml", accounts)
        .await
        .unwrap();
    let url = ask(&mut browser, "support").await;
    assert!(url.contains("login_hint=desk%40sandbox.test"), "{url}");
}

#[tokio::test]
async fn a_failed_refresh_says_what_the_provider_said_and_escapes_it() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let url = ask(&mut browser, "support").await;
    let back = at_provider(&world, &url, ALLOW).await;
    browser.get(&back).await;
    let body = r#"{"error":"invalid_grant","error_description":"<script>alert(1)</script> \"&"}"#;
    world.provider.fault(
        Service::Oauth,
        "/token",
        1,
        Fault::http(400, "application/json", &[], body),
    );
    let csrf = browser.csrf().await;
    browser
        .post("/tokens/refresh", &[("csrf", &csrf), ("name", "support")])
        .await;
    let page = browser.get("/tokens").await;
    page.shows("Not refreshed: token support: invalid_grant");
    page.shows("&#60;script&#62;alert(1)&#60;/script&#62;");
    page.hides("<script>");
    page.shows("What to do:");
    page.shows("Refresh now</button>");
}

#[tokio::test]
async fn an_unknown_token_config_is_said_to_be_unknown() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let csrf = browser.csrf().await;
    for path in ["/tokens/request", "/tokens/refresh"] {
        let answer = browser
            .post(path, &[("csrf", &csrf), ("name", "<b>gone")])
            .await;
        assert_eq!(answer.status, 303, "{path}");
        let page = browser.get("/tokens").await;
        page.shows("&#60;b&#62;gone");
        page.shows("role=\"alert\"");
    }
}

#[tokio::test]
async fn a_page_that_is_open_at_another_name_of_this_machine_sends_nobody_out_in_vain() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let csrf = browser.csrf().await;
    let port = world.address.port();
    browser.headers = vec![
        ("Host", format!("localhost:{port}")),
        ("Origin", format!("http://localhost:{port}")),
    ];
    let answer = browser
        .post("/tokens/request", &[("csrf", &csrf), ("name", "support")])
        .await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let page = browser.get("/tokens").await;
    page.shows(&format!("this page is open at http://localhost:{port}"));
    page.shows(&format!(
        "<code>http://{}/postern/tokens</code>",
        world.address
    ));
    browser.headers = vec![("Origin", format!("http://{}", world.address))];
    way_out(
        &browser
            .post("/tokens/request", &[("csrf", &csrf), ("name", "support")])
            .await,
    );
}

#[tokio::test]
async fn the_address_is_pasted_from_a_browser_that_cannot_be_led_back() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let csrf = browser.csrf().await;
    let port = world.address.port();
    // Open at another name of this machine: no matter, nobody is led back.
    browser.headers = vec![
        ("Host", format!("localhost:{port}")),
        ("Origin", format!("http://localhost:{port}")),
    ];
    let ask = [("csrf", &*csrf), ("name", "support"), ("way", "paste")];
    let page = browser.post("/tokens/request", &ask).await;
    page.shows("Address where the browser ended");
    let url = page
        .body
        .split("href=\"")
        .find(|part| part.contains("code_challenge"));
    let url = url
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .replace("&#38;", "&");
    let back = at_provider(&world, &url, ALLOW).await;
    for (address, says) in [
        (
            "https://nothing.example/",
            "there is no code and state in it",
        ),
        ("http://x/cb?code=c&state=s", "this sign-in link is unknown"),
        (
            &*format!("http://{}{back}", world.address),
            "The new token of support is here.",
        ),
    ] {
        let paste = [("csrf", &*csrf), ("address", address)];
        assert_eq!(browser.post("/tokens/paste", &paste).await.status, 303);
        browser.get("/tokens").await.shows(says);
    }
}

#[tokio::test]
async fn a_code_for_another_device_is_shown_until_it_was_entered() {
    let world = World::new().await;
    let knobs = |knobs: &mut Knobs| knobs.device_interval = Duration::from_millis(1);
    world.provider.set_knobs(knobs);
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let mut entry = world
        .store()
        .token_config("support")
        .unwrap()
        .unwrap()
        .entry;
    entry.config.postern.discovery = Some(world.provider.url());
    world.store().import(vec![entry], true).await.unwrap();
    let csrf = browser.csrf().await;
    let ask = [("csrf", &*csrf), ("name", "support"), ("way", "device")];
    for user in [None, Some("desk@sandbox.test")] {
        let answer = browser.post("/tokens/request", &ask).await;
        let to = answer.header("location").to_owned();
        assert_eq!(to, "/postern/tokens/device?name=support");
        let page = browser.get("/tokens/device?name=support").await;
        let code = world.provider.device_codes().remove(0);
        page.shows(&code);
        page.shows("http-equiv=\"refresh\" content=\"3\"");
        assert!(world.provider.answer_device(&code, user));
        let tokens = &world.parts.tokens;
        while let Some(wait) = tokens.poll_device("support").await.unwrap() {
            tokio::time::sleep(wait).await;
        }
        let done = browser.get("/tokens/device?name=support").await;
        assert_eq!(done.header("location"), "/postern/tokens");
        let page = browser.get("/tokens").await;
        match user {
            None => page.shows("No new token: access_denied"),
            Some(_) => page.shows("The new token of support is here. desk@sandbox.test signed in."),
        }
    }
    let nothing = browser.get("/tokens/device?name=%3Cb%3E").await;
    assert_eq!(nothing.header("location"), "/postern/tokens");
}

#[tokio::test]
async fn another_person_is_refused_and_let_in_when_the_box_is_ticked() {
    let world = World::new().await;
    world.provider.set_knobs(|knobs| knobs.id_token = true);
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let token = Auth::Token("support".to_owned());
    let accounts = declared(
        mailbox("support", "desk@sandbox.test", token.clone()),
        relay("support", "desk@sandbox.test", token),
    );
    let store = world.store();
    store.declare("postern.yaml", accounts).await.unwrap();
    let url = ask(&mut browser, "support").await;
    let url = url.replace("login_hint=desk%40sandbox.test", "x=1");
    let back = at_provider(&world, &url, ALLOW).await;
    browser.get(&back).await;
    let page = browser.get("/tokens").await;
    page.shows("support@sandbox.test signed in, but the token is for desk@sandbox.test");
    page.shows("no token was requested yet");

    let csrf = browser.csrf().await;
    let any = [("csrf", &*csrf), ("name", "support"), ("any_user", "1")];
    let url = way_out(&browser.post("/tokens/request", &any).await);
    let back = at_provider(&world, &url, ALLOW).await;
    browser.get(&back).await;
    let page = browser.get("/tokens").await;
    page.shows("Signed in as support@sandbox.test");
}
