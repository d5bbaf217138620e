//! POP3's names: numbers for those that are good, bytes where they are not.

use super::*;

fn names(names: &[&str]) -> Vec<Named> {
    let named = |name: &&str| Named {
        name: (!name.is_empty()).then(|| name.as_bytes().to_vec()),
        left_out: false,
    };
    names.iter().map(named).collect()
}

/// A mailbox without UIDL is written as empty names.
async fn list(bench: &Bench, listing: &[&str]) -> Vec<Numbered> {
    let found = bench.spool.recognise_names("support", names(listing)).await;
    found.unwrap().messages
}

/// What a session does: lists, fetches what is not known, and says which of it was new.
async fn session(bench: &Bench, mailbox: &[(&str, &str)]) -> Vec<bool> {
    let listing: Vec<&str> = mailbox.iter().map(|(name, _)| *name).collect();
    let mut new = Vec::new();
    for (number, (_, bytes)) in list(bench, &listing).await.iter().zip(mailbox) {
        let key = Key::of_maildrop("support", number.uid);
        let taken = match number.known {
            true => Taken::Known,
            false => bench.take_in(&key, bytes.as_bytes()).await,
        };
        new.push(taken != Taken::Known);
    }
    new
}

/// Everything due is delivered.
async fn deliver(bench: &Bench) {
    for claim in bench.claim_in().await {
        bench.settle(claim.delivery, delivered()).await;
    }
}

/// Everything delivered is deleted, and the server says so.
async fn delete(bench: &Bench) {
    let due = bench.spool.to_acknowledge("support", "INBOX", 0).unwrap();
    let messages = due.into_iter().map(|(message, _)| message).collect();
    bench.spool.deleted(messages).await.unwrap();
}

fn commits(bench: &Bench) -> u64 {
    bench.spool.commits()
}

#[tokio::test]
async fn names_keep_their_numbers_and_a_listing_without_news_writes_nothing() {
    let bench = Bench::new();
    let long = "x".repeat(300);
    let listing = ["a", "b", "\u{1f4e8} odd \u{1}", &long];
    let first = list(&bench, &listing).await;
    assert_eq!(
        first.iter().map(|n| n.uid).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert!(first.iter().all(|n| !n.known));
    let before = commits(&bench);
    assert_eq!(list(&bench, &listing).await, first);
    assert_eq!(commits(&bench), before);

    let bench = bench.reopen();
    assert_eq!(
        session(&bench, &[("b", "1"), ("c", "2")]).await,
        [true, true]
    );
    let again = list(&bench, &["c", "a", "b"]).await;
    let expected = [(5, true), (1, false), (2, true)];
    assert_eq!(
        again.iter().map(|n| (n.uid, n.known)).collect::<Vec<_>>(),
        expected
    );
}

#[tokio::test]
async fn a_message_that_is_left_out_is_known_and_was_never_there_for_others() {
    let bench = Bench::new();
    let mut listing = names(&["old", "new"]);
    listing[0].left_out = true;
    let found = bench
        .spool
        .recognise_names("support", listing)
        .await
        .unwrap();
    assert_eq!(
        found.messages.iter().map(|n| n.known).collect::<Vec<_>>(),
        [true, false]
    );
    assert!(bench.spool.folder_known("support", "INBOX").unwrap());
    assert_eq!(
        session(&bench, &[("old", "1"), ("new", "2")]).await,
        [false, true]
    );
    assert!(!bench.spool.folder_known("other", "INBOX").unwrap());
    list(&bench, &[]).await;
    let empty = bench
        .spool
        .recognise_names("other", Vec::new())
        .await
        .unwrap();
    assert_eq!(empty.messages, []);
    assert!(
        bench.spool.folder_known("other", "INBOX").unwrap(),
        "an empty first listing is one"
    );
}

#[tokio::test]
async fn without_names_the_bytes_tell_as_a_multiset() {
    let bench = Bench::new();
    let twice = [("", "twin"), ("", "solo"), ("", "twin")];
    assert_eq!(session(&bench, &twice).await, [true, true, true]);
    // Nothing was deleted: the same three, in another order, with a fourth.
    let more = [("", "solo"), ("", "twin"), ("", "twin"), ("", "twin")];
    assert_eq!(session(&bench, &more).await, [false, false, false, true]);
    deliver(&bench).await;
    // One deletion got lost, and all are listed again: they can be deleted under their new numbers.
    assert_eq!(session(&bench, &more).await, [false; 4]);
    let due = bench.spool.to_acknowledge("support", "INBOX", 0).unwrap();
    assert_eq!(due.len(), 4);
    delete(&bench).await;
    assert!(bench.spool.queue(None).unwrap().is_empty());
    // A backup brings them back.
    assert_eq!(session(&bench, &more).await, [false; 4]);
}

#[tokio::test]
async fn without_names_what_left_the_mailbox_is_dropped() {
    let bench = Bench::new();
    session(&bench, &[("", "a"), ("", "b")]).await;
    deliver(&bench).await;
    session(&bench, &[("", "b")]).await;
    let dropped = bench.spool.drop_stale("support", "INBOX", 0).await.unwrap();
    assert_eq!(dropped, 1);
    let due = bench.spool.to_acknowledge("support", "INBOX", 0).unwrap();
    assert_eq!(due.len(), 1);
}

#[tokio::test]
async fn a_name_that_two_messages_have_names_none() {
    let bench = Bench::new();
    assert_eq!(
        session(&bench, &[("x", "1"), ("y", "2")]).await,
        [true, true]
    );
    // The name is given to a second message, with other bytes, then with the same.
    let both = [("x", "1"), ("x", "3"), ("y", "2")];
    assert_eq!(session(&bench, &both).await, [false, true, false]);
    let three = [("x", "1"), ("x", "3"), ("x", "1"), ("y", "2")];
    assert_eq!(session(&bench, &three).await, [false, false, true, false]);
    // Again one of them has the name alone.
    assert_eq!(
        session(&bench, &[("x", "3"), ("y", "2")]).await,
        [false, false]
    );
    let known = list(&bench, &["x", "y"]).await;
    assert!(known.iter().all(|n| n.known), "it is a name again");
}

#[tokio::test]
async fn a_name_that_comes_again_after_its_message_was_deleted_is_told_by_the_bytes() {
    let bench = Bench::new();
    session(&bench, &[("x", "1"), ("y", "2"), ("z", "3")]).await;
    deliver(&bench).await;
    delete(&bench).await;
    // The one is back (a backup), the other name has another message.
    assert_eq!(
        session(&bench, &[("x", "1"), ("y", "4")]).await,
        [false, true]
    );
    let known = list(&bench, &["x", "y"]).await;
    assert!(known.iter().all(|n| n.known), "and that is settled");
    // Under a name of its own, the same bytes are another message.
    assert_eq!(
        session(&bench, &[("x", "1"), ("y", "4"), ("other", "3")]).await,
        [false, false, true]
    );
}

#[tokio::test]
async fn a_mailbox_that_names_everything_anew_brings_nothing_twice() {
    let bench = Bench::new();
    session(&bench, &[("a", "1"), ("b", "2"), ("c", "3")]).await;
    deliver(&bench).await;
    let due = bench.spool.to_acknowledge("support", "INBOX", 0).unwrap();
    bench.spool.acknowledged(vec![due[0].0]).await.unwrap();

    let moved = names(&["n1", "n2", "n3", "n4"]);
    assert!(
        bench
            .spool
            .recognise_names("support", moved)
            .await
            .unwrap()
            .renamed
    );
    let moved = [("n1", "3"), ("n2", "1"), ("n3", "2"), ("n4", "4")];
    assert_eq!(session(&bench, &moved).await, [false, false, false, true]);
    let listing = names(&["n1", "n2", "n3", "n4"]);
    let again = bench
        .spool
        .recognise_names("support", listing)
        .await
        .unwrap();
    assert!(!again.renamed && again.messages.iter().all(|n| n.known));
    // What waits for its acknowledgement came along.
    let due = bench.spool.to_acknowledge("support", "INBOX", 0).unwrap();
    assert_eq!(due.len(), 2);
}

#[tokio::test]
async fn a_mailbox_that_was_emptied_and_filled_anew_is_not_taken_for_a_renamed_one() {
    let bench = Bench::new();
    session(&bench, &[("a", "1")]).await;
    deliver(&bench).await;
    delete(&bench).await;
    assert_eq!(
        session(&bench, &[("b", "1")]).await,
        [true],
        "deleted for good: these are other messages"
    );
}

#[tokio::test]
async fn what_imap_fetched_is_known_to_pop3_by_its_bytes_and_the_other_way_round() {
    let bench = Bench::new();
    bench.take_in(&key(7, 1), b"1").await;
    assert_eq!(
        session(&bench, &[("a", "1"), ("b", "2")]).await,
        [false, true]
    );
    assert_eq!(bench.take_in(&key(7, 1), b"1").await, Taken::Known);
    assert_eq!(bench.take_in(&key(7, 2), b"2").await, Taken::Known);
}
