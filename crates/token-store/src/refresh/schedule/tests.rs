//! The schedule's rules, on tokens that are numbers.

use super::*;

const NOW: i64 = 1_795_514_400_000;

fn want(lane: &str, due: i64, ends: i64) -> Option<Want> {
    let lane = lane.into();
    Some(Want { lane, due, ends })
}

/// All that is given out of a lane now, in order.
fn given(schedule: &mut Schedule<u32>, lane: &str, now: i64) -> Vec<u32> {
    schedule.wake(now);
    std::iter::from_fn(|| schedule.give(&lane.into())).collect()
}

#[test]
fn what_is_due_goes_in_the_order_in_which_access_tokens_end() {
    let mut schedule = Schedule::new();
    schedule.set(1, want("a", NOW, NOW + 300), NOW);
    schedule.set(2, want("a", NOW - 5, NOW + 900), NOW);
    schedule.set(3, want("a", i64::MIN, i64::MIN), NOW);
    schedule.set(4, want("a", NOW + 1, NOW + 100), NOW);
    schedule.set(5, want("b", NOW, NOW + 1), NOW);
    assert_eq!(given(&mut schedule, "a", NOW), [3, 1, 2]);
    assert_eq!(schedule.waiting(), [("b".into(), 1)]);
    assert_eq!((schedule.next(), schedule.len()), (Some(NOW + 1), 5));
    assert_eq!(given(&mut schedule, "a", NOW + 1), [4]);
}

#[test]
fn what_was_given_out_comes_back_only_after_it_landed_and_changed() {
    let mut schedule = Schedule::new();
    schedule.set(1, want("a", NOW, NOW), NOW);
    assert_eq!(given(&mut schedule, "a", NOW), [1]);
    schedule.set(1, want("a", NOW, NOW), NOW);
    assert!(
        given(&mut schedule, "a", NOW + MINUTE).is_empty(),
        "in the air"
    );
    schedule.set(1, want("a", NOW + 50, NOW + 99), NOW);
    assert_eq!(given(&mut schedule, "a", NOW + 50), [1], "its row changed");
    schedule.landed(&1, NOW);
    schedule.set(1, want("a", NOW + 70, NOW + 99), NOW);
    assert_eq!(given(&mut schedule, "a", NOW + 70), [1]);
    schedule.landed(&1, NOW);
    schedule.set(1, None, NOW);
    assert_eq!((schedule.len(), schedule.next()), (0, None));
}

#[test]
fn a_flight_that_changed_nothing_is_repeated_at_growing_pauses_behind_the_others() {
    let mut schedule = Schedule::new();
    let mut now = NOW;
    schedule.set(1, want("a", NOW, NOW), now);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(given(&mut schedule, "a", now), [1]);
        schedule.landed(&1, NOW);
        schedule.set(1, want("a", NOW, NOW), now);
        pauses.push(schedule.next().unwrap() - now);
        now = schedule.next().unwrap();
    }
    assert_eq!(
        pauses,
        [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
    );
    schedule.set(2, want("a", now, now + MINUTE), now);
    assert_eq!(given(&mut schedule, "a", now), [2, 1]);
    schedule.landed(&2, now + 5 * MINUTE);
    schedule.set(2, want("a", now, now + MINUTE), now);
    assert_eq!(schedule.next(), Some(now + 5 * MINUTE), "told when");
}

#[test]
fn what_is_overdue_is_spread_but_never_past_its_end() {
    let mut schedule = Schedule::new();
    for token in 0..10_000 {
        schedule.set(token, want("a", NOW - 1, NOW + 10 * MINUTE), NOW);
    }
    schedule.set(10_000, want("a", NOW - 1, NOW + 2 * SECOND), NOW);
    schedule.set(10_001, want("a", NOW + 1, NOW + 10 * MINUTE), NOW);
    let mut luck = fastrand::Rng::with_seed(7);
    schedule.spread(NOW, || luck.f64());
    let mut each_second = Vec::new();
    for second in 0..=300 {
        each_second.push(given(&mut schedule, "a", NOW + second * SECOND));
    }
    assert_eq!(each_second.concat().len(), 10_002, "within five minutes");
    let most = each_second.iter().map(Vec::len).max().unwrap();
    assert!(most < 80, "{most} in one second");
    assert!(each_second[..=1].concat().contains(&10_000));
}

#[test]
fn a_clock_set_back_makes_every_date_earlier() {
    let mut schedule = Schedule::new();
    schedule.set(1, want("a", NOW + MINUTE, NOW), NOW);
    schedule.set(2, want("a", i64::MIN, NOW), NOW);
    schedule.pull(2 * MINUTE);
    assert_eq!(schedule.next(), Some(i64::MIN));
    assert_eq!(given(&mut schedule, "a", NOW - MINUTE), [1, 2]);
}

#[test]
fn what_a_look_at_all_rows_does_not_see_is_gone() {
    let mut schedule = Schedule::new();
    for token in 0..4 {
        schedule.set(token, want("a", NOW, NOW), NOW);
    }
    schedule.wake(NOW);
    schedule.give(&"a".into());
    schedule.look_at_all();
    schedule.set(1, want("a", NOW, NOW), NOW);
    schedule.set(4, want("a", NOW, NOW), NOW);
    schedule.seen_all();
    assert_eq!(schedule.len(), 2);
    assert_eq!(given(&mut schedule, "a", NOW), [1, 4]);
}

#[test]
fn a_hundred_thousand_tokens_are_told_one_by_one_and_all_come_back_in_time() {
    let mut schedule = Schedule::new();
    let mut luck = fastrand::Rng::with_seed(11);
    for token in 0..100_000_u32 {
        let due = NOW + luck.i64(0..3_600_000);
        schedule.set(token, want("a", due, due + 15 * MINUTE), NOW);
    }
    let (mut now, mut flights) = (NOW, 0);
    while let Some(next) = schedule.next().filter(|next| *next < NOW + 60 * MINUTE) {
        now = now.max(next);
        for token in given(&mut schedule, "a", now) {
            schedule.landed(&token, now);
            schedule.set(token, want("a", now + 45 * MINUTE, now + 60 * MINUTE), now);
            flights += 1;
        }
    }
    assert_eq!(schedule.len(), 100_000);
    // Each once, and a quarter of them a second time within the hour.
    assert!((120_000..130_000).contains(&flights), "{flights}");
}
