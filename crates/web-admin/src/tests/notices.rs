//! What the top bar shows of notices, and where it leads.

use super::*;
use token_store::notices::{About, Cause, Kind as NoticeKind};

const NOW: i64 = 1_795_514_400;

fn cause(about: About, words: &str) -> Cause {
    Cause {
        kind: NoticeKind::AccountFailing,
        about,
        words: words.into(),
        advice: "run `postern check` <now>".into(),
    }
}

#[tokio::test]
async fn every_page_shows_the_open_notices_escaped_and_links_to_what_they_are_about() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let causes = vec![
        cause(About::Mailbox("a b".into()), "<script>alert(1)</script>"),
        cause(About::Disk, "nearly full"),
    ];
    world.store().reconcile(causes, NOW).await.unwrap();
    for path in ["/", "/tokens", "/mailboxes", "/relays", "/tokens/add"] {
        let page = browser.get(path).await;
        page.shows("<aside class=\"notices\" role=\"status\"");
        page.shows("<a href=\"/postern/mailboxes#mailbox-a.20.b\">Mailbox a b</a>: &#60;script&#62;alert(1)&#60;/script&#62;.");
        page.shows("<b>Disk</b>: nearly full.");
        page.shows("What to do: run <code>postern check</code> &#60;now&#62;.");
        page.hides("<script>");
    }
    world.store().reconcile(Vec::new(), NOW + 1).await.unwrap();
    browser.get("/").await.hides("class=\"notices\"");
}

#[tokio::test]
async fn a_flood_of_notices_does_not_push_the_page_away() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let causes = (0..25).map(|n| cause(About::Relay(format!("r{n:02}")), "fails"));
    world
        .store()
        .reconcile(causes.collect(), NOW)
        .await
        .unwrap();
    let page = browser.get("/").await;
    page.shows("Relay r09");
    page.hides("Relay r10");
    page.shows("And 15 more;");
}

#[tokio::test]
async fn a_token_that_is_mended_is_no_longer_shown_although_nobody_has_looked_again() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let mut token = cause(About::Token("support".into()), "a person must sign in");
    token.kind = NoticeKind::ConsentNeeded;
    world.store().reconcile(vec![token], NOW).await.unwrap();
    let page = browser.get("/").await;
    page.shows("<a href=\"/postern/tokens?about=support#token-support\">Token support</a>");
    browser
        .get("/tokens")
        .await
        .shows("<tr role=\"row\" id=\"token-support\">");
    let refresh_token = Secret::new(world.provider.consent("desk@sandbox.test"));
    world
        .parts
        .tokens
        .seed("support", refresh_token)
        .await
        .unwrap();
    browser.get("/").await.hides("Token support");
}
