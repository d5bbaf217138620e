//! Pages stay small and quick, however much there is.

use super::*;
use provider_template::{Entry, Order};
use std::time::Instant;

/// What a page may weigh.
const BYTES: usize = 60 * 1024;
const MANY: usize = 500;

fn config(world: &World, n: usize) -> (String, Entry) {
    let order = Order {
        name: format!("customer-{n:03}"),
        client_id: "0b5c3a52-0000-4000-8000-000000000000".to_owned(),
        client_secret: Secret::new("planted-secret"),
        valid: true,
        ..Order::default()
    };
    let template = world.parts.library.get("google").unwrap();
    ("google".to_owned(), template.order(order).unwrap())
}

#[tokio::test]
async fn five_hundred_of_everything_weigh_little_and_take_little_time() {
    let world = World::new().await;
    let name = |n: usize| format!("customer-{n:03}");
    let user = |n: usize| format!("support-{n:03}@helpdesk.example.com");
    let token = |n: usize| Auth::Token(name(n));
    let declared = Declared {
        token_configs: (0..MANY).map(|n| config(&world, n)).collect(),
        mailboxes: (0..MANY)
            .map(|n| mailbox(&name(n), &user(n), token(n)))
            .collect(),
        relays: (0..MANY)
            .map(|n| relay(&name(n), &user(n), token(n)))
            .collect(),
    };
    world
        .store()
        .declare("postern.yaml", declared)
        .await
        .unwrap();
    let mut browser = world.signed_in().await;
    for n in 0..150 {
        let what = format!("did the {n}th thing of this long day");
        world
            .store()
            .audit_from("root", &what, "2001:db8::1")
            .await
            .unwrap();
    }
    for path in [
        "/",
        "/start",
        "/tokens",
        "/tokens?page=25",
        "/tokens/add",
        "/tokens/add?template=microsoft-tenant",
        "/tokens/transfer",
        "/tokens/delete?name=customer-000",
        "/templates",
        "/templates?name=microsoft-tenant",
        "/log",
        "/settings",
    ] {
        let begun = Instant::now();
        let page = browser.get(path).await;
        let took = begun.elapsed();
        println!("{path}: {} bytes, {took:?}", page.body.len());
        assert!(page.body.len() < BYTES, "{path}: {}", page.body.len());
        page.hides("planted-secret");
    }
    let page = browser.get("/tokens?page=25").await;
    page.shows("customer-499");
    page.shows("Page 25 of 25");
    let page = browser.get("/tokens?about=customer-250").await;
    page.shows("id=\"token-customer-250\"");
    let page = browser.get("/").await;
    page.shows("And 480 more");
}
