//! The table of answers: every file of `answers/` is served on loopback to the real exchange, and must lead to its verdict, its
//! words and its advice; and whatever comes, mutated at random as well, no refresh token is dropped.
//!
//! A case is a sentence, an answer as it stands on the wire, and what must come of it. In a body `⟨1f 8b⟩` are bytes,
//! `⟨x × 1000⟩` is a repetition, `⟨cut⟩` ends the connection early, and `⟨utf-16 ...⟩` at its beginning encodes what follows.

use super::super::answer::{Names, read};
use super::super::{Ask, Exchange};
use super::{Verdict, judge};
use crate::Secret;
use crate::state::{Landed, Token};
use provider_template::{Config, Entry, Request};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the requests present.
const SENT: &str = "refresh-as-sent";
const NOW: i64 = 1_795_514_400_000;

struct Case {
    /// File and sentence.
    name: String,
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
    cut: bool,
    /// The block from `=>` on.
    expected: String,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/exchange/verdict/answers");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let of_file = |file: std::path::PathBuf| {
        let text = std::fs::read_to_string(&file).unwrap();
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let cases: Vec<Case> = text
            .split("\n### ")
            .skip(1)
            .map(|block| case(&stem, block))
            .collect();
        cases
    };
    files.into_iter().flat_map(of_file).collect()
}

fn case(file: &str, block: &str) -> Case {
    let (answer, expected) = block
        .split_once("\n=> ")
        .unwrap_or_else(|| panic!("{file}: no verdict in: {block}"));
    let (sentence, answer) = answer.split_once('\n').unwrap();
    let (head, body) = answer.split_once("\n\n").unwrap_or((answer.trim_end(), ""));
    let mut head = head.lines();
    let status = head.next().and_then(|line| line.strip_prefix("HTTP "));
    let (body, cut) = bytes(body.trim_end_matches('\n'));
    Case {
        name: format!("{file}: {sentence}"),
        status: status.unwrap().parse().unwrap(),
        headers: head.map(str::to_owned).collect(),
        body,
        cut,
        expected: format!("=> {}\n", expected.trim_end()),
    }
}

/// A body as bytes, and whether the connection ends before it does.
fn bytes(text: &str) -> (Vec<u8>, bool) {
    let wide = |text: &str, unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect();
    if let Some(rest) = text.strip_prefix("⟨utf-16 with mark⟩") {
        return (wide(&format!("\u{feff}{rest}"), u16::to_le_bytes), false);
    }
    if let Some(rest) = text.strip_prefix("⟨utf-16 big end first⟩") {
        return (wide(rest, u16::to_be_bytes), false);
    }
    let mut out = Vec::new();
    let mut pieces = text.split('⟨');
    out.extend(pieces.next().unwrap_or_default().bytes());
    for piece in pieces {
        let (special, rest) = piece.split_once('⟩').unwrap();
        if special == "cut" {
            return (out, true);
        }
        if let Some((what, times)) = special.split_once(" × ") {
            out.extend(what.repeat(times.parse().unwrap()).bytes());
        } else {
            let hex = special.split(' ');
            out.extend(hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        }
        out.extend(rest.bytes());
    }
    (out, false)
}

async fn serve(case: &Case, mut stream: TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(SENT.as_bytes()) {
        assert!(
            stream.read_buf(&mut request).await.unwrap() > 0,
            "a whole request"
        );
    }
    let mut head = format!("HTTP/1.1 {} Words\r\nconnection: close\r\n", case.status);
    for line in &case.headers {
        write!(head, "{line}\r\n").unwrap();
    }
    if case.status != 204 {
        let missing = if case.cut { 100 } else { 0 };
        write!(head, "content-length: {}\r\n", case.body.len() + missing).unwrap();
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // Who has read enough hangs up, which is no failure of this side.
    let _ = stream.write_all(&case.body).await;
}

fn entry(port: u16) -> Entry {
    let mut config = Config::default();
    config.requests.token_by_refresh_token = Some(Request {
        url: format!("http://127.0.0.1:{port}/token"),
        ..Request::default()
    });
    Entry {
        name: "support".into(),
        valid: true,
        config,
        rest: serde_json::Map::default(),
    }
}

/// A verdict as the files write it.
fn written(verdict: &Verdict) -> String {
    let life = |life: Option<Duration>| {
        life.map_or("unknown".into(), |life| format!("{} s", life.as_secs_f64()))
    };
    let trouble = |kind: &str, trouble: &super::Trouble| {
        format!(
            "=> {kind}\nwords: {}\nadvice: {}\n",
            trouble.words, trouble.advice
        )
    };
    match verdict {
        Verdict::Granted(grant) => {
            let refresh = grant.refresh.as_ref().map_or("kept", Secret::expose);
            let mut text = format!(
                "=> granted\naccess: {}\nlives: {}\nrefresh: {refresh}\n",
                grant.access.expose(),
                life(grant.expires_in)
            );
            if grant.refresh_expires_in.is_some() {
                writeln!(text, "refresh lives: {}", life(grant.refresh_expires_in)).unwrap();
            }
            text
        }
        Verdict::Retry {
            trouble: why,
            after,
            refresh,
            ..
        } => {
            let mut text = trouble("retry", why);
            if after.is_some() {
                writeln!(text, "after: {}", life(*after)).unwrap();
            }
            if let Some(refresh) = refresh {
                writeln!(text, "refresh: {}", refresh.expose()).unwrap();
            }
            text
        }
        Verdict::AskPerson(why) => trouble("ask the person", why),
        Verdict::FixConfiguration(why) => trouble("fix the configuration", why),
    }
}

/// What the state keeps after a verdict: the refresh token at hand, or the one that came with the answer.
fn kept_after(verdict: &Verdict) -> String {
    let mut token = Token::new(true);
    token.seeded(Secret::new(SENT), NOW);
    let seen = token.seen();
    let landed = match verdict {
        Verdict::Granted(grant) => token.refreshed(seen, grant, NOW, 0.5),
        failure => token.failed(seen, failure, NOW, 0.5),
    };
    assert_eq!(landed, Landed::Applied);
    token
        .refresh
        .expect("a refresh token is never dropped")
        .secret
        .expose()
        .to_owned()
}

#[tokio::test]
async fn every_answer_has_its_verdict_its_words_and_its_advice() {
    let cases = cases();
    assert!(cases.len() >= 140, "the folder holds {} cases", cases.len());
    let exchange = Exchange::new(None).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let entry = entry(listener.local_addr().unwrap().port());
    let sent = Secret::new(SENT);
    let mut wrong = String::new();
    for case in &cases {
        let ask = exchange.ask(
            &entry,
            Ask::Refresh {
                refresh_token: &sent,
            },
        );
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            serve(case, stream).await;
        };
        let (verdict, ()) = tokio::join!(ask, serve);
        let got = written(&verdict);
        if got != case.expected {
            write!(
                wrong,
                "\n### {}\nexpected {}\ngot {got}",
                case.name, case.expected
            )
            .unwrap();
        }
        let kept = kept_after(&verdict);
        let own = verdict.refresh_token().map_or(SENT, Secret::expose);
        assert_eq!(kept, own, "{}", case.name);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Changes a body in one of the ways in which bodies get broken.
fn mutate(random: &mut fastrand::Rng, body: &[u8]) -> Vec<u8> {
    // Beyond this a body is padding.
    let mut body = body[..body.len().min(4096)].to_vec();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(0..=body.len());
        let to = random.usize(at..=body.len());
        match random.u8(0..6) {
            0 => body.truncate(at),
            1 => drop(body.drain(at..to)),
            2 => body.insert(at, random.u8(..)),
            3 => body.insert(at, *random.choice(br#"{}[]",:\0"#).unwrap()),
            4 => {
                let piece = body[at..to].to_vec();
                body.splice(at..at, piece);
            }
            _ => {
                if let Some(byte) = body.get_mut(at) {
                    *byte ^= 1 << random.u8(0..8);
                }
            }
        }
    }
    body
}

#[test]
fn whatever_comes_a_refresh_token_is_kept_or_replaced_by_the_answers_own() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let request = Request::default();
    let names = Names::of(&request);
    let cases = cases();
    for case in &cases {
        for _ in 0..100 {
            let body = mutate(&mut random, &case.body);
            let statuses = [200, 201, 302, 400, 401, 403, 429, 500, 503, case.status];
            let status = *random.choice(&statuses).unwrap();
            let verdict = judge(status, None, read(status, &body, &names));
            let kept = kept_after(&verdict);
            let own = verdict.refresh_token().map_or(SENT, Secret::expose);
            assert_eq!(kept, own, "{}: {body:?}", case.name);
            match &verdict {
                Verdict::Granted(grant) => {
                    let access = grant.access.expose();
                    let clean = |c: char| !c.is_control() && !c.is_whitespace();
                    assert!((200..300).contains(&status) && access.chars().all(clean));
                }
                Verdict::Retry { trouble, .. }
                | Verdict::AskPerson(trouble)
                | Verdict::FixConfiguration(trouble) => {
                    let words = &trouble.words;
                    let short = !words.is_empty() && words.chars().count() < 800;
                    assert!(short && !words.contains(char::is_control), "{words}");
                    assert!(!trouble.advice.is_empty());
                }
            }
        }
    }
}

#[test]
fn an_answer_cut_at_any_byte_yields_whole_tokens_or_none() {
    let request = Request::default();
    let names = Names::of(&request);
    let body = br#"{"token_type":"Bearer","access_token":"ACCESS","expires_in":3600,"refresh_token":"REFRESH"}"#;
    for end in 0..=body.len() {
        let verdict = judge(200, None, read(200, &body[..end], &names));
        let whole = end >= body.len() - 1;
        assert_eq!(
            matches!(verdict, Verdict::Granted(_)),
            whole,
            "cut at {end}"
        );
        let kept = kept_after(&verdict);
        assert_eq!(kept, if whole { "REFRESH" } else { SENT }, "cut at {end}");
    }
}
