//! Keeps one task running: an unexpected end is told, and the task starts again after a pause.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;

/// How long a task may finish what it does after it was told to stop: a DATA or a ticket command at its end.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// Runs what `make` makes until `stop` is cancelled and it has ended, or [`GRACE`] is over. A panic, or an end that nobody asked for, is
/// told to `ended` with the pause until the next start.
pub(crate) async fn supervise<F, Fut>(
    stop: CancellationToken,
    mut make: F,
    mut ended: impl FnMut(&str, Duration),
) where
    F: FnMut() -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        let begun = Instant::now();
        // Dropping the set ends the task, so whoever drops this future ends it too.
        let mut task = JoinSet::new();
        task.spawn(make());
        let end = tokio::select! {
            end = task.join_next() => end,
            () = stop.cancelled() => {
                let _ = timeout(GRACE, task.join_next()).await;
                return;
            }
        };
        if stop.is_cancelled() {
            return;
        }
        let why = match end {
            Some(Err(error)) if error.is_panic() => panic_words(error.into_panic().as_ref()),
            _ => "it ended although nobody asked it to".to_owned(),
        };
        let pause = backoff.pause(begun.elapsed(), fastrand::f64());
        ended(&why, pause);
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn panic_words(payload: &(dyn std::any::Any + Send)) -> String {
    let words = payload
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    format!(
        "it panicked: {}",
        words.as_deref().unwrap_or("without words")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    #[tokio::test(start_paused = true)]
    async fn a_panicked_task_starts_again_after_a_pause_and_says_why() {
        let starts = Arc::new(AtomicUsize::new(0));
        let told = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let (count, words, inner) = (starts.clone(), told.clone(), stop.clone());
        let make = move || {
            let (count, stop) = (count.clone(), inner.clone());
            async move {
                if count.fetch_add(1, Ordering::SeqCst) < 2 {
                    panic!("trap {}", 7);
                }
                stop.cancel();
            }
        };
        let begun = Instant::now();
        supervise(stop, make, move |why, pause| {
            words.lock().unwrap().push((why.to_owned(), pause))
        })
        .await;
        assert_eq!(starts.load(Ordering::SeqCst), 3);
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 2);
        assert!(
            told.iter().all(|(why, _)| why == "it panicked: trap 7"),
            "{told:?}"
        );
        assert_eq!(begun.elapsed().as_secs(), (told[0].1 + told[1].1).as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_ended_when_the_grace_is_over() {
        let stop = CancellationToken::new();
        stop.cancel();
        let begun = Instant::now();
        // Cancelled before the first start: nothing runs at all.
        supervise(stop, std::future::pending, |_, _| {}).await;
        assert!(begun.elapsed() < Duration::from_secs(1));

        let stop = CancellationToken::new();
        let (late, begun) = (stop.clone(), Instant::now());
        let cancel = async move {
            sleep(Duration::from_secs(1)).await;
            late.cancel();
        };
        tokio::join!(supervise(stop, std::future::pending, |_, _| {}), cancel);
        assert_eq!(begun.elapsed(), Duration::from_secs(1) + GRACE);
    }
}
