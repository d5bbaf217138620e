//! Tokens: consent, PKCE, rotation, punishment, introspection, and failures on order.
use super::talk::{Talk, get, json_text, post, start};
use sandbox::{Fault, Service};
use std::time::{Duration, Instant};

const CLIENT: &str = "client_id=sandbox-client&client_secret=sandbox-secret";
const USER: &str = "helpdesk@sandbox.test";
// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CALLBACK: &str = "http%3A%2F%2F127.0.0.1%3A8025%2Fcb";

fn authorize() -> String {
    format!(
        "/authorize?response_type=code&client_id=sandbox-client&redirect_uri={CALLBACK}\
         &scope=mail&state=s%26t&code_challenge={CHALLENGE}&code_challenge_method=S256"
    )
}

fn refresh(token: &str) -> String {
    format!("grant_type=refresh_token&refresh_token={token}&{CLIENT}")
}

#[tokio::test]
async fn a_consent_leads_to_tokens_and_only_with_the_right_verifier() {
    let running = start().await;
    let provider = &running.provider;
    let (status, page) = get(provider, &authorize()).await;
    assert_eq!(status, 200);
    assert!(page.contains("Allow as helpdesk@sandbox.test"), "{page}");

    let target = format!("{}&login_hint=helpdesk%40sandbox.test", authorize());
    let (status, redirect) = get(provider, &target).await;
    assert_eq!(status, 302);
    let (_, rest) = redirect
        .split_once("Location: http://127.0.0.1:8025/cb?code=")
        .expect("a redirect with a code");
    let (code, rest) = rest.split_once("&state=").expect("a state");
    assert!(rest.starts_with("s%26t\r\n"), "{rest}");

    let exchange = |verifier: &str| {
        format!(
            "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}&code_verifier={verifier}&{CLIENT}"
        )
    };
    let (status, answer) = post(provider, "/token", &exchange("wrong")).await;
    assert_eq!(
        (status, json_text(&answer, "error")),
        (400, "invalid_grant".to_owned())
    );
    let (status, answer) = post(provider, "/token", &exchange(VERIFIER)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(json_text(&answer, "token_type"), "Bearer");
    let access = json_text(&answer, "access_token");
    assert_eq!(access.len(), 43);
    let (status, _) = post(
        provider,
        "/token",
        &refresh(&json_text(&answer, "refresh_token")),
    )
    .await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_authorisation_that_cannot_be_trusted_is_a_page_and_never_a_redirect() {
    let running = start().await;
    for (right, wrong) in [
        ("client_id=sandbox-client", "client_id=other"),
        ("127.0.0.1%3A8025", "example.com"),
    ] {
        let target = authorize().replace(right, wrong) + "&login_hint=u";
        let (status, _) = get(&running.provider, &target).await;
        assert_eq!(status, 400, "{wrong}");
    }
    let without_pkce = authorize().replace("code_challenge", "x") + "&login_hint=u";
    let (status, answer) = get(&running.provider, &without_pkce).await;
    assert_eq!(status, 302);
    assert!(answer.contains("?error=invalid_request"), "{answer}");
    let (_, answer) = get(&running.provider, &(authorize() + "&deny=1")).await;
    assert!(answer.contains("?error=access_denied"), "{answer}");
}

#[tokio::test]
async fn a_refresh_token_used_twice_is_punished_and_counted() {
    let running = start().await;
    let provider = &running.provider;
    let first = provider.consent(USER);
    let (_, answer) = post(provider, "/token", &refresh(&first)).await;
    let second = json_text(&answer, "refresh_token");
    assert_ne!(first, second);
    for token in [&first, &second] {
        let (status, answer) = post(provider, "/token", &refresh(token)).await;
        let error = json_text(&answer, "error");
        assert_eq!((status, error.as_str()), (400, "invalid_grant"));
    }
    let counts = provider.counts();
    assert_eq!((counts.refreshes, counts.reused), (1, 1));
    assert_eq!(counts.token_requests, 3);
}

#[tokio::test]
async fn a_client_signs_in_by_form_or_basic_and_a_wrong_secret_is_invalid_client() {
    let running = start().await;
    let provider = &running.provider;
    let form = "grant_type=client_credentials";
    // sandbox-client:sandbox-secret
    let request = format!(
        "POST /token HTTP/1.1\r\nAuthorization: Basic c2FuZGJveC1jbGllbnQ6c2FuZGJveC1zZWNyZXQ=\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let (status, answer) = super::talk::http(provider, &request).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(json_text(&answer, "refresh_token"), "");
    let wrong = format!("{form}&client_id=sandbox-client&client_secret=no");
    let (status, answer) = post(provider, "/token", &wrong).await;
    assert_eq!(
        (status, json_text(&answer, "error")),
        (401, "invalid_client".to_owned())
    );
}

#[tokio::test]
async fn introspection_and_user_information_name_the_user_until_the_token_expires() {
    let running = start().await;
    let provider = &running.provider;
    let token = provider.access_token(USER);
    let (_, answer) = post(provider, "/introspect", &format!("token={token}")).await;
    assert_eq!(json_text(&answer, "username"), USER);
    assert!(answer.contains(r#""active":true"#), "{answer}");
    let with_bearer = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")
    };
    let (status, answer) = super::talk::http(provider, &with_bearer("/userinfo")).await;
    assert_eq!(
        (status, json_text(&answer, "email")),
        (200, USER.to_owned())
    );
    let (_, answer) = super::talk::http(provider, &with_bearer("/introspect")).await;
    assert_eq!(json_text(&answer, "username"), USER);

    provider.expire_access_tokens();
    let (_, answer) = post(provider, "/introspect", &format!("token={token}")).await;
    assert!(answer.ends_with(r#"{"active":false}"#), "{answer}");
    let (status, _) = super::talk::http(provider, &with_bearer("/userinfo")).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn discovery_names_the_endpoints_on_a_kept_connection() {
    let running = start().await;
    let provider = &running.provider;
    let mut talk = Talk::to(provider.oauth()).await;
    let request = "GET /.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\n\r\n";
    for _ in 0..2 {
        talk.expect(request, "HTTP/1.1 200 OK\r\n").await;
        let head = talk.ask("", "Content-Length: ").await;
        let length: usize = head.last().unwrap()["Content-Length: ".len()..]
            .parse()
            .unwrap();
        let url = provider.url();
        let start =
            format!("\r\n{{\"issuer\":\"{url}\",\"authorization_endpoint\":\"{url}/authorize\"");
        talk.expect("", &start).await;
        let mut rest = String::new();
        while rest.len() + start.len() < length + 2 {
            rest.push(talk.byte().await);
        }
        assert!(rest.contains("\"S256\""), "{rest}");
    }
}

#[tokio::test]
async fn a_planned_fault_replaces_delays_or_loses_one_answer() {
    let running = start().await;
    let provider = &running.provider;
    let token = provider.consent(USER);
    let html = Fault::http(503, "text/html", &[], "<html>busy</html>");
    let patience = Fault::http(429, "application/json", &["Retry-After: 2"], "{}");
    provider.fault(Service::Oauth, "/token", 1, html);
    provider.fault(Service::Oauth, "/token", 1, patience);
    let late = Duration::from_millis(30);
    provider.fault(Service::Oauth, "/token", 1, Fault::Delay(late));
    provider.fault(Service::Oauth, "/token", 1, Fault::Lose);

    let (status, answer) = post(provider, "/token", &refresh(&token)).await;
    assert_eq!(status, 503);
    assert!(answer.ends_with("<html>busy</html>"), "{answer}");
    let (status, answer) = post(provider, "/token", &refresh(&token)).await;
    assert_eq!(status, 429);
    assert!(answer.contains("\r\nRetry-After: 2\r\n"), "{answer}");
    let began = Instant::now();
    let (status, answer) = post(provider, "/token", &refresh(&token)).await;
    assert_eq!(status, 200);
    assert!(began.elapsed() >= late);

    // The last one is carried out, and its answer lost: the token is used all the same.
    let rotated = json_text(&answer, "refresh_token");
    let mut talk = Talk::to(provider.oauth()).await;
    let form = refresh(&rotated);
    let length = form.len();
    talk.say(&format!(
        "POST /token HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{form}"
    ))
    .await;
    assert!(talk.is_closed().await);
    assert_eq!(provider.counts().refreshes, 2);
    let (status, _) = post(provider, "/token", &refresh(&rotated)).await;
    assert_eq!((status, provider.counts().reused), (400, 1));
}

#[tokio::test]
async fn what_is_not_http_is_answered_and_closed() {
    let running = start().await;
    for (request, status) in [
        ("nonsense\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n", 400),
        (
            "POST /token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            411,
        ),
        (
            "POST /token HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
            413,
        ),
        ("GET /nothing HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
        ("GET /token HTTP/1.1\r\nConnection: close\r\n\r\n", 405),
    ] {
        let (found, _) = super::talk::http(&running.provider, request).await;
        assert_eq!(found, status, "{request:?}");
    }
}
