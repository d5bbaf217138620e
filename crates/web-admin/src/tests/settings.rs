//! Settings, log, templates, and the overview that lives.

use super::*;
use spool::Direction;

impl Browser {
    async fn set(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf().await;
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend(fields);
        let answer = self.post(path, &all).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        self.get("/settings").await
    }
}

const NEW: &str = "another horse, another battery";

#[tokio::test]
async fn a_password_is_changed_by_who_knows_the_present_one_and_other_sessions_end() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let mut other = world.signed_in().await;
    for (current, password, repeated, words) in [
        ("guess", NEW, NEW, "Your password is wrong."),
        (PASSWORD, NEW, PASSWORD, "The two passwords differ."),
        (PASSWORD, "short", "short", "at least 8 characters"),
    ] {
        let fields = [
            ("current", current),
            ("password", password),
            ("repeated", repeated),
        ];
        browser
            .set("/settings/password", &fields)
            .await
            .shows(words);
    }
    let before = browser.cookies["postern"].clone();
    let fields = [("current", PASSWORD), ("password", NEW), ("repeated", NEW)];
    let page = browser.set("/settings/password", &fields).await;
    page.shows("Your password was changed");
    assert_ne!(browser.cookies["postern"], before);
    assert_eq!(
        other.get("/settings").await.status,
        303,
        "its session ended"
    );
    let visitor = token_store::admins::Visitor::default();
    let knows = world
        .store()
        .knows_password("root", Secret::new(NEW), &visitor);
    assert!(knows.await.unwrap());
}

#[tokio::test]
async fn administrators_are_added_and_deleted_here_but_not_the_last_one() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    browser
        .get("/settings")
        .await
        .hides("/settings/admins/delete");
    let fields = [("name", "root")];
    let page = browser.set("/settings/admins/delete", &fields).await;
    page.shows("this is the only administrator");
    let mut fields = vec![
        ("name", "<b>ann"),
        ("password", NEW),
        ("repeated", NEW),
        ("current", "guess"),
    ];
    let page = browser.set("/settings/admins/add", &fields).await;
    page.shows("Your password is wrong.");
    fields[3].1 = PASSWORD;
    let page = browser.set("/settings/admins/add", &fields).await;
    page.shows("The administrator &#60;b&#62;ann was added.");
    page.hides("<b>");
    let page = browser.get("/settings/admins/delete?name=%3Cb%3Eann").await;
    page.shows("can sign in no longer");
    let page = browser
        .set("/settings/admins/delete", &[("name", "<b>ann")])
        .await;
    page.shows("was deleted.");
    assert_eq!(
        browser.get("/settings/admins/delete?name=x").await.status,
        404
    );
}

#[tokio::test]
async fn a_session_is_ended_from_another_and_the_file_is_shown() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let mut other = world.signed_in().await;
    let page = browser.get("/settings").await;
    page.shows("(this browser)");
    page.shows("web: &#60;b&#62;");
    let id = page.field("id");
    let page = browser.set("/settings/sessions/end", &[("id", &id)]).await;
    page.shows("The session of root was ended.");
    assert_eq!(other.get("/settings").await.status, 303);
    assert_eq!(browser.get("/settings").await.status, 200);
    let page = browser.set("/settings/sessions/end", &[("id", &id)]).await;
    page.shows("has ended already");
}

#[tokio::test]
async fn a_second_factor_with_a_wrong_code_is_not_switched_on_and_keeps_its_secret() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let page = browser.get("/settings/second-factor").await;
    page.shows("<svg class=\"qr\"");
    let (csrf, secret) = (page.field("csrf"), page.field("secret"));
    let fields = [
        ("csrf", csrf.as_str()),
        ("secret", &secret),
        ("code", "12345"),
    ];
    let page = browser.post("/settings/second-factor", &fields).await;
    page.shows("Not switched on");
    assert_eq!(page.field("secret"), secret);
    assert!(!world.store().admins().unwrap()[0].second_factor);
    let page = browser
        .set("/settings/second-factor/remove", &[("current", "guess")])
        .await;
    page.shows("Your password is wrong.");
}

#[tokio::test]
async fn the_log_says_who_did_what_from_where_in_pages() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    for n in 0..150 {
        let what = format!("did <i>{n}</i>.");
        world
            .store()
            .audit_from("ann", &what, "192.0.2.1")
            .await
            .unwrap();
    }
    let page = browser.get("/log").await;
    page.shows("did &#60;i&#62;149&#60;/i&#62;.");
    page.shows("192.0.2.1");
    page.hides("&#62;49&#60;");
    let older = page.body.split_once("/log?before=").unwrap().1;
    let older = older.split('"').next().unwrap();
    let page = browser.get(&format!("/log?before={older}")).await;
    page.shows("did &#60;i&#62;49&#60;/i&#62;.");
    page.shows("signed in");
    page.hides("/log?before=");
    assert_eq!(browser.get("/log?before=x").await.status, 200);
}

#[tokio::test]
async fn every_template_can_be_read_with_links_to_the_provider() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let list = browser.get("/templates").await;
    let mut links = 0;
    for template in &world.parts.library.templates {
        let path = format!("/templates?name={}", template.name);
        list.shows(&format!("href=\"/postern{path}\""));
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200);
        page.shows("What it knows");
        page.shows(&format!("/postern/tokens/add?template={}", template.name));
        links += page.body.matches("rel=\"noreferrer noopener\"").count();
    }
    assert!(links > 5, "{links}");
    assert_eq!(browser.get("/templates?name=no-such").await.status, 404);
}

#[tokio::test]
async fn the_overview_is_sent_again_when_something_has_changed_and_ends_with_the_session() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let page = browser.get("/").await;
    page.shows("data-live=\"/postern/events\"");
    page.shows("Messages in per hour, the last 24 hours: 0 in all, 0 at most");

    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let cookie = &browser.cookies["postern"];
    let request = format!(
        "GET /events HTTP/1.1\r\nHost: {}\r\nCookie: postern={cookie}\r\n\r\n",
        world.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    until(&mut stream, &mut said, "support").await;
    assert!(said.contains("content-type: text/event-stream"), "{said}");
    assert!(said.contains("x-content-type-options"), "{said}");
    assert!(!said.contains("appeared"), "{said}");
    world.add_config(&mut browser, "appeared").await;
    until(&mut stream, &mut said, "appeared").await;
    browser.set("/sign-out", &[]).await;
    let mut rest = String::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        // The last chunk of the stream; the connection itself may be used again.
        until(&mut stream, &mut rest, "\r\n0\r\n\r\n").await;
    });
    ended.await.unwrap();
    assert_eq!(world.browser().get("/events").await.status, 303);
    let nothing = world.parts.spool.delivered_hourly(Direction::In, 24);
    assert_eq!(nothing.unwrap(), [0; 24]);
}

/// Reads on until the text is there.
async fn until(stream: &mut TcpStream, said: &mut String, words: &str) {
    let reading = async {
        let mut bytes = [0; 16_384];
        while !format!("\r\n{said}").contains(words) {
            let n = stream.read(&mut bytes).await.unwrap();
            assert!(n > 0, "{words:?} never came: {said}");
            said.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .unwrap();
}
