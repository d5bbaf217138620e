//! What is owed when, what a look at the causes changes, and that rows and restarts keep it.

use super::reconcile::reconcile;
use super::*;
use crate::seal::Key;

const NOW: i64 = 1_795_514_400;

fn cause(kind: Kind, mailbox: &str) -> Cause {
    Cause {
        kind,
        about: About::Mailbox(mailbox.into()),
        words: "words".into(),
        advice: "advice".into(),
    }
}

fn notice(cleared_at: Option<i64>, told: Told) -> Notice {
    Notice {
        id: 1,
        cause: cause(Kind::AccountFailing, "a"),
        since: NOW,
        cleared_at,
        told: BTreeMap::from([(Channel::Mail, told)]),
    }
}

#[test]
fn a_channel_tells_once_then_daily_and_once_more_when_it_is_mended() {
    let told = |raised_at: Option<i64>, mended_at: Option<i64>| Told {
        raised_at,
        mended_at,
        ..Told::default()
    };
    let (open, cleared) = (None, Some(NOW));
    let table = [
        (open, told(None, None), Some(Telling::Raised)),
        (open, told(Some(NOW), None), None),
        (open, told(Some(NOW - REPEAT + 1), None), None),
        (
            open,
            told(Some(NOW - REPEAT), None),
            Some(Telling::Repeated),
        ),
        (cleared, told(Some(NOW - 5), None), Some(Telling::Mended)),
        (cleared, told(Some(NOW - 5), Some(NOW)), None),
        (cleared, told(None, None), None),
        // It came back: told anew, but not more often than hourly.
        (open, told(Some(NOW - CALM + 1), Some(NOW - 9)), None),
        (
            open,
            told(Some(NOW - CALM), Some(NOW - 9)),
            Some(Telling::Raised),
        ),
        (
            cleared,
            told(Some(NOW - 5), Some(NOW - 9)),
            Some(Telling::Mended),
        ),
    ];
    for (cleared_at, told, owed) in table {
        let notice = notice(cleared_at, told);
        assert_eq!(notice.owed(Channel::Mail, NOW), owed, "{notice:?}");
        let other = notice.is_open().then_some(Telling::Raised);
        assert_eq!(notice.owed(Channel::Command, NOW), other, "its own state");
    }
}

#[test]
fn a_pause_is_kept_and_a_clock_set_back_does_not_make_it_endless() {
    let paused = |retry_at| {
        let told = Told {
            retry_at: Some(retry_at),
            tries: 1,
            ..Told::default()
        };
        notice(None, told).owed(Channel::Mail, NOW)
    };
    assert_eq!(paused(NOW + 1), None);
    assert_eq!(paused(NOW), Some(Telling::Raised));
    assert_eq!(paused(NOW + 10 * RETRY_CAP), Some(Telling::Raised));
}

#[test]
fn new_causes_raise_gone_ones_clear_and_other_words_are_taken_over_silently() {
    let failing = cause(Kind::AccountFailing, "a");
    assert_eq!(
        reconcile(&[], &[failing.clone(), failing.clone()], NOW),
        [Change::Raise(failing.clone())],
        "twice is once"
    );
    let known = [notice(None, Told::default())];
    assert_eq!(reconcile(&known, std::slice::from_ref(&failing), NOW), []);
    let other = Cause {
        words: "other".into(),
        ..failing.clone()
    };
    let reworded = [Change::Reword(1, other.clone())];
    assert_eq!(reconcile(&known, &[other], NOW), reworded);
    assert_eq!(
        reconcile(&known, &[], NOW),
        [Change::Clear(1, failing.clone())]
    );
    // The same account for another reason is another notice.
    let held = cause(Kind::HeldMail, "a");
    assert_eq!(
        reconcile(&known, std::slice::from_ref(&held), NOW),
        [Change::Clear(1, failing.clone()), Change::Raise(held)]
    );
    let recent = [notice(Some(NOW - CALM + 1), Told::default())];
    let reopened = [Change::Reopen(1, failing.clone())];
    assert_eq!(
        reconcile(&recent, std::slice::from_ref(&failing), NOW),
        reopened
    );
    let earlier = [notice(Some(NOW - CALM), Told::default())];
    let raised = [Change::Raise(failing.clone())];
    assert_eq!(
        reconcile(&earlier, std::slice::from_ref(&failing), NOW),
        raised
    );
    let old = [notice(Some(NOW - KEPT - 1), Told::default())];
    assert_eq!(reconcile(&old, &[], NOW), [Change::Forget(1)]);
}

#[test]
fn every_word_reads_back() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_key(kind.key()), Some(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.key());
    }
    let name = || "a b".to_owned();
    for about in [
        About::Token(name()),
        About::Endpoint(name()),
        About::Mailbox(name()),
        About::Relay(name()),
        About::Channel(name()),
        About::DropDirectory,
        About::Disk,
    ] {
        assert_eq!(About::parse(&about.to_string()), Some(about));
    }
    assert_eq!(About::parse("nonsense"), None);
    for channel in Channel::ALL {
        assert_eq!(serde_json::to_value(channel).unwrap(), channel.key());
    }
}

fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(&folder.path().join("accounts.db"), Key::from_bytes([7; 32])).unwrap()
}

fn owed(store: &Store, channel: Channel, now: i64) -> Vec<(i64, Telling)> {
    let notices = store.notices().unwrap();
    let owed = notices
        .iter()
        .filter_map(|n| Some((n.id, n.owed(channel, now)?)));
    owed.collect()
}

#[tokio::test]
async fn a_restart_tells_nothing_again_and_one_failing_channel_does_not_repeat_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let causes = || vec![cause(Kind::AccountFailing, "a"), cause(Kind::HeldMail, "a")];
    let done = store.reconcile(causes(), NOW).await.unwrap();
    assert_eq!((done.raised.len(), done.cleared.len()), (2, 0));
    let due = owed(&store, Channel::Command, NOW);
    assert_eq!(due.len(), 2);
    store.told(Channel::Command, due, NOW).await.unwrap();
    let ids: Vec<i64> = owed(&store, Channel::Webhook, NOW)
        .iter()
        .map(|(id, _)| *id)
        .collect();
    for _ in 0..3 {
        store
            .not_told(Channel::Webhook, ids.clone(), "HTTP\n500", NOW, 0.5)
            .await
            .unwrap();
    }
    drop(store);

    let store = open(&folder);
    let again = store.reconcile(causes(), NOW + 60).await.unwrap();
    assert_eq!(again.raised, []);
    assert_eq!(owed(&store, Channel::Command, NOW + 60), []);
    let told = store.notices().unwrap()[0].told(Channel::Webhook);
    assert_eq!((told.tries, told.error.as_deref()), (3, Some("HTTP 500")));
    assert_eq!(
        told.retry_at,
        Some(NOW + 4 * RETRY_FIRST),
        "the pause grows"
    );
    assert_eq!(owed(&store, Channel::Webhook, NOW + 60), []);
    let later = owed(&store, Channel::Webhook, NOW + 4 * RETRY_FIRST);
    assert_eq!(later.len(), 2);
    store
        .told(Channel::Webhook, later, NOW + 120)
        .await
        .unwrap();
    assert_eq!(
        store.notices().unwrap()[0].told(Channel::Webhook).error,
        None
    );

    let mended = store.reconcile(Vec::new(), NOW + 180).await.unwrap();
    assert_eq!(mended.cleared.len(), 2);
    let due = owed(&store, Channel::Command, NOW + 180);
    assert!(due.iter().all(|(_, telling)| *telling == Telling::Mended) && due.len() == 2);
    store.told(Channel::Command, due, NOW + 180).await.unwrap();
    assert_eq!(owed(&store, Channel::Command, NOW + 181), []);
    assert_eq!(
        owed(&store, Channel::Mail, NOW + 181),
        [],
        "nobody heard of it by mail"
    );

    store
        .reconcile(Vec::new(), NOW + 180 + KEPT + 1)
        .await
        .unwrap();
    assert_eq!(store.notices().unwrap(), []);
    store
        .told(Channel::Mail, vec![(1, Telling::Raised)], NOW)
        .await
        .unwrap();
}

#[tokio::test]
async fn whatever_comes_and_goes_no_channel_is_silent_about_what_lasts_or_tells_it_twice() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    let mut now = NOW;
    let mut last_raised: BTreeMap<String, i64> = BTreeMap::new();
    for _ in 0..400 {
        now += random.i64(1..2 * HOUR);
        let causes = ["a", "b", "c"].into_iter().filter(|_| random.bool());
        let causes: Vec<Cause> = causes
            .map(|name| cause(Kind::AccountFailing, name))
            .collect();
        store.reconcile(causes.clone(), now).await.unwrap();
        let notices = store.notices().unwrap();
        let open_now: Vec<&Cause> = notices
            .iter()
            .filter(|n| n.is_open())
            .map(|n| &n.cause)
            .collect();
        assert_eq!(open_now.len(), causes.len());
        assert!(causes.iter().all(|cause| open_now.contains(&cause)));
        let due = owed(&store, Channel::Mail, now);
        for notice in notices.iter().filter(|n| n.is_open()) {
            let about = notice.cause.about.to_string();
            let owes = due.iter().find(|(id, _)| *id == notice.id);
            if owes.is_some() {
                let before = last_raised.insert(about, now);
                assert!(before.is_none_or(|at| now >= at + CALM), "told too often");
            } else {
                assert!(now < last_raised[&about] + REPEAT, "silent about {about}");
            }
        }
        store.told(Channel::Mail, due, now).await.unwrap();
        assert_eq!(owed(&store, Channel::Mail, now), []);
        if random.u8(..) < 16 {
            drop(store);
            store = open(&folder);
        }
    }
}
