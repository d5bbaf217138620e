//! Fetching: sign-in, listing, pieces of bodies, acknowledging, IDLE, and failures on order.
use super::talk::{Talk, start};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sandbox::{Fault, Provider, Service};
use std::time::Duration;

const USER: &str = "helpdesk@sandbox.test";
const MAIL: &str = "Subject: one\r\n\r\n.dot\r\nü\r\n";

fn xoauth2(token: &str) -> String {
    STANDARD.encode(format!("user={USER}\x01auth=Bearer {token}\x01\x01"))
}

async fn signed_in(provider: &Provider) -> Talk {
    let mut talk = Talk::to(provider.imap()).await;
    talk.line().await;
    let payload = xoauth2(&provider.access_token(USER));
    let answer = talk
        .ask(&format!("s AUTHENTICATE XOAUTH2 {payload}\r\n"), "s ")
        .await;
    assert!(answer[0].starts_with("s OK"), "{answer:?}");
    talk
}

async fn selected(provider: &Provider) -> Talk {
    let mut talk = signed_in(provider).await;
    talk.ask("s SELECT INBOX\r\n", "s OK [READ-WRITE]").await;
    talk
}

#[tokio::test]
async fn the_greeting_says_what_is_offered_and_sign_in_takes_both_forms() {
    let running = start().await;
    let provider = &running.provider;
    let payload = xoauth2(&provider.access_token(USER));
    let mut talk = Talk::to(provider.imap()).await;
    let offered =
        "IMAP4rev1 UNSELECT SASL-IR IDLE UIDPLUS MOVE AUTH=XOAUTH2 AUTH=OAUTHBEARER AUTH=PLAIN";
    talk.expect("", &format!("* OK [CAPABILITY {offered}] ready\r\n"))
        .await;
    talk.expect(
        "a CAPABILITY\r\n",
        &format!("* CAPABILITY {offered}\r\na OK done\r\n"),
    )
    .await;
    talk.expect("b SELECT INBOX\r\n", "b NO sign in first\r\n")
        .await;
    talk.expect("c AUTHENTICATE XOAUTH2\r\n", "+ \r\n").await;
    let welcome = "OK [CAPABILITY IMAP4rev1 UNSELECT SASL-IR IDLE UIDPLUS MOVE] signed in\r\n";
    talk.expect(&format!("{payload}\r\n"), &format!("c {welcome}"))
        .await;
    provider.set_password(USER, "p \"q");
    let mut talk = Talk::to(provider.imap()).await;
    talk.line().await;
    talk.expect(&format!("d LOGIN {USER} {{4}}\r\n"), "+ go ahead\r\n")
        .await;
    talk.expect("p \"q\r\n", &format!("d {welcome}")).await;
    assert_eq!(provider.counts().imap_sign_ins, 2);
}

#[tokio::test]
async fn an_expired_token_is_explained_and_refused() {
    let running = start().await;
    let provider = &running.provider;
    let token = provider.access_token(USER);
    provider.expire_access_tokens();
    let mut talk = Talk::to(provider.imap()).await;
    talk.line().await;
    let challenge = STANDARD.encode(r#"{"status":"401","schemes":"bearer","scope":"mail"}"#);
    talk.expect(
        &format!("a AUTHENTICATE XOAUTH2 {}\r\n", xoauth2(&token)),
        &format!("+ {challenge}\r\n"),
    )
    .await;
    talk.expect(
        "\r\n",
        "a NO [AUTHENTICATIONFAILED] the credentials were refused\r\n",
    )
    .await;
    talk.expect("b AUTHENTICATE XOAUTH2\r\n", "+ \r\n").await;
    talk.expect("*\r\n", "b BAD cancelled\r\n").await;
    assert_eq!(provider.counts().refused, 1);
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order_and_bodies_come_in_pieces() {
    let running = start().await;
    running.provider.put_mail(USER, MAIL.into());
    let mut talk = selected(&running.provider).await;
    talk.expect(
        "1 UID FETCH 1:* (UID FLAGS RFC822.SIZE)\r\n2 UID FETCH 1 (BODY.PEEK[]<0.20>)\r\n\
         3 UID FETCH 1 (BODY.PEEK[]<20.99>)\r\n4 UID FETCH 1 BODY.PEEK[]<99.9>\r\n\
         5 UID FETCH 1 (BODY.PEEK[HEADER] BODY.PEEK[HEADER]<0.7> BODY.PEEK[TEXT])\r\n6 UID FETCH 9 (UID)\r\n",
        "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 26)\r\n1 OK fetched\r\n\
         * 1 FETCH (UID 1 BODY[]<0> {20}\r\nSubject: one\r\n\r\n.dot)\r\n2 OK fetched\r\n\
         * 1 FETCH (UID 1 BODY[]<20> {6}\r\n\r\nü\r\n)\r\n3 OK fetched\r\n\
         * 1 FETCH (UID 1 BODY[]<26> {0}\r\n)\r\n4 OK fetched\r\n\
         * 1 FETCH (UID 1 BODY[HEADER] {16}\r\nSubject: one\r\n\r\n BODY[HEADER]<0> {7}\r\nSubject BODY[TEXT] {10}\r\n.dot\r\nü\r\n)\r\n\
         5 OK fetched\r\n6 OK fetched\r\n",
    )
    .await;
    assert_eq!(running.provider.flags(USER, "INBOX"), [(1, vec![])]);
    talk.expect(
        "7 UID FETCH 1 (BODY[TEXT]<0.4>)\r\n",
        "* 1 FETCH (UID 1 BODY[TEXT]<0> {4}\r\n.dot FLAGS (\\Seen))\r\n7 OK fetched\r\n",
    )
    .await;
    let seen = vec!["\\Seen".to_owned()];
    assert_eq!(running.provider.flags(USER, "INBOX"), [(1, seen)]);
}

#[tokio::test]
async fn select_status_and_list_say_what_is_there() {
    let running = start().await;
    running.provider.put_mail(USER, MAIL.into());
    running.provider.put_mail_in(USER, "Trash", MAIL.into());
    let mut talk = signed_in(&running.provider).await;
    talk.expect(
        "1 LIST \"\" *\r\n2 EXAMINE inbox\r\n3 STATUS Trash (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)\r\n4 SELECT None\r\n5 CREATE New\r\n6 CREATE New\r\n",
        "* LIST (\\HasNoChildren) \"/\" \"INBOX\"\r\n* LIST (\\HasNoChildren) \"/\" \"Trash\"\r\n1 OK listed\r\n\
         * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* OK [PERMANENTFLAGS ()] kept\r\n* 1 EXISTS\r\n* 0 RECENT\r\n\
         * OK [UIDVALIDITY 1000] valid\r\n* OK [UIDNEXT 2] next\r\n2 OK [READ-ONLY] opened\r\n\
         * STATUS \"Trash\" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1001 UNSEEN 1)\r\n3 OK counted\r\n\
         4 NO [NONEXISTENT] there is no such folder\r\n5 OK created\r\n6 NO [ALREADYEXISTS] there is one of that name\r\n",
    )
    .await;
    assert_eq!(
        running.provider.folder_names(USER),
        ["INBOX", "New", "Trash"]
    );
}

#[tokio::test]
async fn uid_expunge_takes_only_its_own_and_move_takes_the_message_along() {
    let running = start().await;
    let provider = &running.provider;
    for number in 1..=4 {
        provider.put_mail(USER, format!("Subject: {number}\r\n\r\n").into());
    }
    provider.put_mail_in(USER, "Done", MAIL.into());
    let mut talk = selected(provider).await;
    talk.expect(
        "1 UID STORE 1:2 +FLAGS.SILENT (\\Deleted)\r\n2 UID EXPUNGE 2\r\n3 UID MOVE 3 Done\r\n4 UID COPY 4 Nowhere\r\n5 UID SEARCH ALL\r\n6 UID STORE 4 +FLAGS (\\Seen)\r\n7 EXPUNGE\r\n",
        "1 OK stored\r\n* 2 EXPUNGE\r\n2 OK expunged\r\n* OK [COPYUID 1001 3 2] moved\r\n* 2 EXPUNGE\r\n3 OK moved\r\n\
         4 NO [TRYCREATE] there is no such folder\r\n* SEARCH 1 4\r\n5 OK searched\r\n* 2 FETCH (UID 4 FLAGS (\\Seen))\r\n6 OK stored\r\n\
         * 1 EXPUNGE\r\n7 OK expunged\r\n",
    )
    .await;
    assert_eq!(provider.folder(USER, "INBOX"), [b"Subject: 4\r\n\r\n"]);
    let done = provider.folder(USER, "Done");
    assert_eq!(done[1], b"Subject: 3\r\n\r\n");
}

#[tokio::test]
async fn search_since_goes_by_the_day_of_arrival() {
    let running = start().await;
    running.provider.put_mail(USER, MAIL.into());
    let mut talk = selected(&running.provider).await;
    talk.expect(
        "1 UID SEARCH SINCE 1-Jan-2020\r\n2 UID SEARCH SINCE 1-Jan-2999\r\n3 UID SEARCH UNSEEN BEFORE 1-Jan-2999\r\n4 UID SEARCH SINCE yesterday\r\n",
        "* SEARCH 1\r\n1 OK searched\r\n* SEARCH\r\n2 OK searched\r\n* SEARCH 1\r\n3 OK searched\r\n\
         4 BAD UID SEARCH is unknown here, or its arguments make no sense\r\n",
    )
    .await;
}

#[tokio::test]
async fn idle_is_told_of_new_mail_and_of_mail_that_another_session_took() {
    let running = start().await;
    let provider = &running.provider;
    let mut idler = selected(provider).await;
    idler.expect("1 IDLE\r\n", "+ idling\r\n").await;
    provider.put_mail(USER, MAIL.into());
    idler.expect("", "* 1 EXISTS\r\n").await;
    let mut other = selected(provider).await;
    other
        .ask("a UID STORE 1 +FLAGS (\\Deleted)\r\nb EXPUNGE\r\n", "b OK")
        .await;
    idler.expect("", "* 1 EXPUNGE\r\n").await;
    idler
        .expect("DONE\r\n2 NOOP\r\n", "1 OK idled\r\n2 OK done\r\n")
        .await;
}

#[tokio::test]
async fn a_session_can_end_with_its_token() {
    let running = start().await;
    let provider = &running.provider;
    provider.set_knobs(|knobs| knobs.token_life = Duration::from_millis(300));
    provider.set_features(|features| features.end_expired_sessions = true);
    let mut talk = selected(provider).await;
    talk.expect("1 IDLE\r\n", "+ idling\r\n").await;
    talk.expect("", "* BYE Session invalidated - AccessTokenExpired\r\n")
        .await;
    assert!(talk.is_closed().await);
}

#[tokio::test]
async fn a_planned_fault_refuses_a_command_or_loses_its_answer_after_the_work() {
    let running = start().await;
    let provider = &running.provider;
    provider.put_mail(USER, MAIL.into());
    let refusal = Fault::Reply("NO [UNAVAILABLE] later".to_owned());
    provider.fault(Service::Imap, "UID FETCH", 1, refusal);
    provider.fault(Service::Imap, "EXPUNGE", 1, Fault::Lose);
    let mut talk = selected(provider).await;
    talk.expect("1 UID FETCH 1 (UID)\r\n", "1 NO [UNAVAILABLE] later\r\n")
        .await;
    talk.expect(
        "2 UID STORE 1 +FLAGS.SILENT (\\Deleted)\r\n",
        "2 OK stored\r\n",
    )
    .await;
    talk.say("3 EXPUNGE\r\n").await;
    assert!(talk.is_closed().await);
    assert!(provider.folder(USER, "INBOX").is_empty());
    let busy = Fault::Reply("* BYE too many connections".to_owned());
    provider.fault(Service::Imap, "GREETING", 1, busy);
    let mut talk = Talk::to(provider.imap()).await;
    talk.expect("", "* BYE too many connections\r\n").await;
    assert!(talk.is_closed().await);
}

#[tokio::test]
async fn a_new_uidvalidity_gives_new_uids_and_ends_the_sessions() {
    let running = start().await;
    let provider = &running.provider;
    provider.put_mail(USER, MAIL.into());
    let mut talk = selected(provider).await;
    talk.ask("1 UID STORE 1 +FLAGS (\\Deleted)\r\n2 EXPUNGE\r\n", "2 OK")
        .await;
    provider.put_mail(USER, MAIL.into());
    assert_eq!(provider.flags(USER, "INBOX")[0].0, 2);
    provider.set_uidvalidity(USER, "INBOX", 77);
    assert_eq!(provider.flags(USER, "INBOX")[0].0, 1);
    talk.line().await;
    assert!(talk.is_closed().await);
    let mut talk = signed_in(provider).await;
    let answer = talk.ask("1 SELECT INBOX\r\n", "1 OK").await;
    assert!(answer.contains(&"* OK [UIDVALIDITY 77] valid".to_owned()));
}

#[tokio::test]
async fn every_task_ends_with_the_shutdown() {
    let shutdown = tokio_util::sync::CancellationToken::new();
    let provider = Provider::start(sandbox::Knobs::default(), shutdown.clone())
        .await
        .unwrap();
    let mut talk = selected(&provider).await;
    talk.expect("1 IDLE\r\n", "+ idling\r\n").await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), provider.ended())
        .await
        .expect("all tasks end at once");
    assert!(talk.is_closed().await);
}
