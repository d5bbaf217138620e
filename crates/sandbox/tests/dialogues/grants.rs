//! Grants beside the code and the refresh: devices, passwords, revocation, and who a token is of.
use super::talk::{get, json_text, post, start};

const CLIENT: &str = "client_id=sandbox-client&client_secret=sandbox-secret";
const USER: &str = "helpdesk@sandbox.test";
const DEVICE: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";

#[tokio::test]
async fn a_device_waits_until_a_person_allows_it_on_the_page() {
    let running = start().await;
    let provider = &running.provider;
    provider.set_knobs(|knobs| knobs.device_interval = std::time::Duration::ZERO);
    let (status, _) = post(provider, "/device_authorization", "client_id=other").await;
    assert_eq!(status, 401);
    let (status, begun) = post(provider, "/device_authorization", CLIENT).await;
    assert_eq!(status, 200, "{begun}");
    let (code, user_code) = (
        json_text(&begun, "device_code"),
        json_text(&begun, "user_code"),
    );
    let ask = format!("{DEVICE}&device_code={code}&{CLIENT}");
    let (status, answer) = post(provider, "/token", &ask).await;
    assert_eq!(
        (status, json_text(&answer, "error")),
        (400, "authorization_pending".to_owned())
    );
    let complete = json_text(&begun, "verification_uri_complete");
    let target = complete.strip_prefix(&provider.url()).unwrap();
    let (_, page) = get(provider, target).await;
    assert!(page.contains("Allow as helpdesk@sandbox.test"), "{page}");
    let (_, page) = get(provider, "/device").await;
    assert!(page.contains("name=\"user_code\""), "{page}");
    let allow = format!("{target}&login_hint=helpdesk%40sandbox.test");
    assert_eq!(get(provider, &allow).await.0, 200);
    assert_eq!(get(provider, &allow).await.0, 404, "answered already");
    let (status, answer) = post(provider, "/token", &ask).await;
    assert_eq!(status, 200, "{answer}");
    let access = json_text(&answer, "access_token");
    assert_eq!(provider.user_of(&access).as_deref(), Some(USER));
    assert!(!json_text(&answer, "refresh_token").is_empty());
    assert_eq!(post(provider, "/token", &ask).await.0, 400, "good once");
    assert_eq!(provider.counts().device_questions, 3);
    assert!(provider.device_codes().is_empty() && !user_code.is_empty());
}

#[tokio::test]
async fn a_password_is_taken_and_a_wrong_one_is_quoted_as_rude_servers_do() {
    let running = start().await;
    let provider = &running.provider;
    provider.set_password(USER, "right one");
    let sign_in = |password: &str| {
        format!("grant_type=password&username={USER}&password={password}&{CLIENT}")
    };
    let (status, answer) = post(provider, "/token", &sign_in("wrong")).await;
    assert_eq!(status, 400);
    assert!(answer.contains("wrong"), "{answer}");
    let (status, answer) = post(provider, "/token", &sign_in("right+one")).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_revoked_token_takes_its_sign_in_with_it_and_only_the_client_may_do_that() {
    let running = start().await;
    let provider = &running.provider;
    let refresh = provider.consent(USER);
    let form = format!("grant_type=refresh_token&refresh_token={refresh}&{CLIENT}");
    let (_, answer) = post(provider, "/token", &form).await;
    let (access, newer) = (
        json_text(&answer, "access_token"),
        json_text(&answer, "refresh_token"),
    );
    assert_eq!(
        post(provider, "/revoke", &format!("token={newer}")).await.0,
        401
    );
    assert!(provider.user_of(&access).is_some());
    let form = format!("token={newer}&{CLIENT}");
    assert_eq!(post(provider, "/revoke", &form).await.0, 200);
    assert_eq!(
        post(provider, "/revoke", &form).await.0,
        200,
        "as good as revoked"
    );
    assert_eq!(provider.user_of(&access), None);
    let form = format!("grant_type=refresh_token&refresh_token={newer}&{CLIENT}");
    assert_eq!(post(provider, "/token", &form).await.0, 400);
}

#[tokio::test]
async fn an_id_token_names_the_user_where_it_is_asked_for_by_the_knob() {
    let running = start().await;
    let provider = &running.provider;
    let exchange =
        |refresh: String| format!("grant_type=refresh_token&refresh_token={refresh}&{CLIENT}");
    let (_, answer) = post(provider, "/token", &exchange(provider.consent(USER))).await;
    assert_eq!(json_text(&answer, "id_token"), "");
    provider.set_knobs(|knobs| knobs.id_token = true);
    let (_, answer) = post(provider, "/token", &exchange(provider.consent(USER))).await;
    assert_eq!(json_text(&answer, "id_token").split('.').count(), 3);
}

#[tokio::test]
async fn an_assertion_that_nobody_registered_proves_nothing() {
    let running = start().await;
    let provider = &running.provider;
    let bearer = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c";
    let (status, answer) = post(provider, "/token", bearer).await;
    assert_eq!(
        (status, json_text(&answer, "error")),
        (400, "invalid_grant".to_owned())
    );
    let client = "grant_type=client_credentials&client_id=sandbox-client&client_assertion=a.b.c\
                  &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let (status, answer) = post(provider, "/token", client).await;
    assert_eq!(
        (status, json_text(&answer, "error")),
        (401, "invalid_client".to_owned())
    );
}
