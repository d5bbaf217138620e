//! What the pages show, and what they never show.

use super::*;
use spool::{Headline, Key as MailKey, Unfetchable};
use token_store::accounts::{Condition, Kind};

#[tokio::test]
async fn mistakes_are_shown_at_their_fields_and_nothing_typed_is_lost_but_the_secret() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let page = browser.get("/tokens/add?template=microsoft-tenant").await;
    page.shows(&format!("http://{}/postern/oauth2/callback", world.address));
    let csrf = page.field("csrf");
    let fields = [
        ("csrf", csrf.as_str()),
        ("template", "microsoft-tenant"),
        ("name", "\"><script>alert(1)</script>"),
        ("client_secret", "typed-secret"),
        ("variables.TenantID", "no/such tenant"),
        ("scope", "my own scope"),
        ("endpoints.token", "http://plain.example/token"),
        ("validity", "invalid"),
    ];
    let answer = browser.post("/tokens/add", &fields).await;
    assert_eq!(answer.status, 422);
    for field in ["client_id", "variables.TenantID", "endpoints.token"] {
        answer.shows(&format!("<a href=\"#{field}\">"));
        answer.shows(&format!("id=\"{field}-mistake\""));
    }
    answer.shows("aria-describedby=\"client_id-mistake\"");
    answer.shows("aria-invalid=\"true\"");
    answer.shows("value=\"&#34;&#62;&#60;script&#62;alert(1)&#60;/script&#62;\"");
    answer.shows("value=\"no/such tenant\"");
    answer.shows("value=\"my own scope\"");
    answer.shows("value=\"http://plain.example/token\"");
    answer.shows("<option value=\"invalid\" selected>");
    answer.shows("<details class=\"advanced\" open>");
    answer.hides("typed-secret");
    answer.hides("<script>");
    assert!(world.store().token_configs().unwrap().is_empty());
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_mistake_of_the_name() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, "support").await;
    let answer = world.add_config(&mut browser, "support").await;
    assert_eq!(answer.status, 422);
    answer.shows("<a href=\"#name\">Name: is taken");
    answer.hides(&world.provider.client().1);
}

#[tokio::test]
async fn each_template_has_a_form_and_a_saved_config_remembers_it() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let list = browser.get("/tokens/add").await;
    for template in &world.parts.library.templates {
        let name = &template.name;
        list.shows(&format!("/postern/tokens/add?template={name}\""));
        let page = browser.get(&format!("/tokens/add?template={name}")).await;
        assert_eq!(page.status, 200, "{name}");
        let mut fields = vec![
            ("csrf", page.field("csrf")),
            ("template", name.clone()),
            ("name", format!("my {name}")),
            ("client_id", "id".to_owned()),
            ("client_secret", "never-shown".to_owned()),
            ("scope", "mail".to_owned()),
        ];
        if name == "google-service-account" {
            fields.retain(|(field, _)| !field.starts_with("client_"));
            let key = r#""-----BEGIN PRIVATE KEY-----\nnever-shown\n-----END PRIVATE KEY-----""#;
            let file = format!(r#"{{"client_email": "robot@example.com", "private_key": {key}}}"#);
            fields.push(("service_account", file));
        }
        if name == "generic" {
            fields.push(("endpoints.discovery", "https://id.example.com".to_owned()));
        }
        if page.body.contains("variables.TenantID") {
            fields.push(("variables.TenantID", "contoso.example".to_owned()));
        }
        let fields: Vec<_> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let answer = browser.post("/tokens/add", &fields).await;
        assert_eq!(answer.status, 303, "{name}: {}", answer.body);
    }
    let page = browser.get("/tokens").await;
    for template in &world.parts.library.templates {
        page.shows(&format!("my {}", template.name));
        page.shows(&format!("Template: {}<", template.name));
    }
    page.hides("never-shown");
    assert_eq!(
        browser.get("/tokens/add?template=no-such").await.status,
        404
    );
}

#[tokio::test]
async fn mailboxes_and_relays_show_their_state_in_words_and_no_secret() {
    let world = World::new().await;
    let password = || Auth::Password(Secret::new("mailbox-secret"));
    let accounts = declared(
        mailbox("support", "support@example.com", password()),
        relay("replies", "<i>replies@example.com", password()),
    );
    world
        .store()
        .declare("accounts.yaml", accounts)
        .await
        .unwrap();
    let board = &world.parts.board;
    let why = "NO [UNAVAILABLE] <script>later</script>".to_owned();
    let until = crate::words::now() + 200;
    board.set(
        Kind::Mailbox,
        "support",
        Condition::Working {
            doing: "waiting for new mail".into(),
        },
    );
    board.set(Kind::Mailbox, "support", Condition::Waiting { why, until });
    board.set(
        Kind::Relay,
        "replies",
        Condition::Blocked {
            why: "sign in at the provider".into(),
        },
    );
    let held = Unfetchable {
        key: MailKey {
            mailbox: "support".to_owned(),
            folder: "INBOX".to_owned(),
            uidvalidity: 1,
            uid: 1,
        },
        headline: Headline::default(),
        size: 1 << 30,
        why: "larger than max_size".to_owned(),
    };
    world.parts.spool.hold_unfetched(held).await.unwrap();

    let mut browser = world.signed_in().await;
    let page = browser.get("/mailboxes").await;
    for words in [
        "state warn\">will try again",
        "NO [UNAVAILABLE] &#60;script&#62;later&#60;/script&#62;",
        "in 3 minutes",
        "imap.example.com:993, TLS",
        "Declared in accounts.yaml",
        "/opt/rt/mailgate",
        "data-label=\"Held\" class=\"number warn\">1<",
    ] {
        page.shows(words);
    }
    let relays = browser.get("/relays").await;
    for words in [
        "state bad\">waits for you",
        "sign in at the provider",
        "&#60;i&#62;replies@example.com",
        "3 connections, 30 messages a minute",
        "none yet",
    ] {
        relays.shows(words);
    }
    let overview = browser.get("/").await;
    overview.shows("2 things want your attention.");
    overview.shows("<b>1</b> held");
    for page in [page, relays, overview] {
        for never in ["mailbox-secret", "arg-secret", "<script>", "<i>"] {
            page.hides(never);
        }
    }
}

#[tokio::test]
async fn what_a_file_declares_says_so_and_what_is_invalid_offers_no_action() {
    let world = World::new().await;
    let template = world.parts.library.get("google").unwrap();
    let order = |name: &str, valid| provider_template::Order {
        name: name.to_owned(),
        client_id: "id".to_owned(),
        client_secret: Secret::new("declared-secret"),
        valid,
        ..Default::default()
    };
    let entry = |name, valid| {
        (
            "google".to_owned(),
            template.order(order(name, valid)).unwrap(),
        )
    };
    let declared = Declared {
        token_configs: vec![entry("declared", true), entry("idle", false)],
        ..Declared::default()
    };
    world
        .store()
        .declare("postern.yaml", declared)
        .await
        .unwrap();
    let mut browser = world.signed_in().await;
    let page = browser.get("/tokens").await;
    page.shows("Declared in postern.yaml, changed there only");
    page.shows("Request new token for declared");
    page.hides("Request new token for idle");
    page.shows("none while invalid");
    page.hides("declared-secret");
    browser.get("/").await.shows("invalid, not used");
}

#[tokio::test]
async fn the_empty_pages_say_where_to_begin() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    for (path, words) in [
        ("/", "No mailbox and no relay is set up yet."),
        ("/tokens", "There is no token config yet."),
        ("/mailboxes", "There is no mailbox yet."),
        ("/relays", "There is no relay yet."),
    ] {
        browser.get(path).await.shows(words);
    }
}

#[tokio::test]
async fn style_sheet_and_script_may_be_kept_and_their_links_change_with_them() {
    let world = World::new().await;
    let mut browser = world.browser();
    let page = browser.get("/sign-in").await;
    for (start, path, kind, words) in [
        (
            "rel=\"stylesheet\" href=\"",
            "/postern/style.css?",
            "text/css; charset=utf-8",
            "prefers-color-scheme: dark",
        ),
        (
            "<script src=\"",
            "/postern/postern.js?",
            "text/javascript; charset=utf-8",
            "use strict",
        ),
    ] {
        let rest = page.body.split_once(start).unwrap().1;
        let link = rest.split('"').next().unwrap();
        assert!(link.starts_with(path), "{link}");
        let file = browser.get(link).await;
        assert_eq!(file.status, 200);
        assert_eq!(file.header("content-type"), kind);
        assert!(file.header("cache-control").contains("immutable"));
        assert!(file.body.contains(words));
    }
    page.hides("<script>");
    page.hides(" style=");
}
