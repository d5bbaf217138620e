//! The queue a page at a time, and what is looked for in it.

use super::*;

fn found(bench: &Bench, search: &Search) -> Vec<i64> {
    let rows = bench.spool.search(search, Part::Newest, 100).unwrap();
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut all: Vec<i64> = bench
        .spool
        .found(search)
        .unwrap()
        .iter()
        .map(|m| m.0)
        .collect();
    all.reverse();
    assert_eq!(ids, all, "a page and the whole say the same");
    ids
}

fn text(text: &str) -> Search {
    Search {
        text: text.into(),
        ..Search::default()
    }
}

#[tokio::test]
async fn messages_are_found_by_what_people_know_of_them() {
    let bench = Bench::new();
    let first = bench
        .take_out("relay", &["a@x.example", "b_b@x.example"], b"1")
        .await;
    let second = bench.take_out("other", &["c@y.example"], b"2").await;
    bench.take_in(&key(1, 1), b"3").await;
    let held = bench.spool.hold(vec![second], "why").await.unwrap();
    assert_eq!(held, 1);

    assert_eq!(found(&bench, &Search::default()).len(), 3);
    assert_eq!(
        found(&bench, &text("B_B@")),
        [first.0],
        "in any case, and _ is a letter"
    );
    assert_eq!(found(&bench, &text("bXb@")), [0_i64; 0]);
    assert_eq!(found(&bench, &text("%")), [0_i64; 0]);
    assert_eq!(found(&bench, &text(&format!("#{}", second.0))), [second.0]);
    assert_eq!(
        found(&bench, &text("'; DROP TABLE message; --")),
        [0_i64; 0]
    );
    let of = |direction, account: &str, state: &str| Search {
        direction,
        account: Some(account.to_owned()).filter(|a| !a.is_empty()),
        state: Some(state.to_owned()).filter(|s| !s.is_empty()),
        text: String::new(),
    };
    assert_eq!(
        found(&bench, &of(Some(Direction::Out), "", "")),
        [second.0, first.0]
    );
    assert_eq!(found(&bench, &of(None, "other", "")), [second.0]);
    assert_eq!(found(&bench, &of(None, "", "held")), [second.0]);
    assert_eq!(
        found(&bench, &of(Some(Direction::Out), "", "due")),
        [first.0]
    );
    assert_eq!(found(&bench, &of(None, "", "in doubt")), [0_i64; 0]);
}

#[tokio::test]
async fn pages_join_without_a_gap_and_stay_where_they_are_while_mail_comes() {
    let bench = Bench::new();
    let mut all = Vec::new();
    for n in 0..7 {
        let to = format!("r{n}@x.example");
        all.push(bench.take_out("relay", &[&to], b"x").await.0);
    }
    all.reverse();
    let page = |part| {
        let rows = bench.spool.search(&Search::default(), part, 3).unwrap();
        rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let first = page(Part::Newest);
    let second = page(Part::Before(MessageId(first[2])));
    assert_eq!([&first[..], &second].concat(), all[..6]);
    bench.take_out("relay", &["late@x.example"], b"x").await;
    assert_eq!(page(Part::Before(MessageId(first[2]))), second);
    assert_eq!(page(Part::After(MessageId(second[0]))), first);
    assert_eq!(page(Part::Before(MessageId(second[2]))), all[6..]);
}
