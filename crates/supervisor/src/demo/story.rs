//! What happens on stage: the fixed story of `--once`, and the open-ended play.

use std::time::Duration;

use sandbox::{Fault, Service};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::ON_CALL;
use super::letters::{DATABASE_AWAY, Letter, URGENT, Writer};
use super::screen::Screen;
use super::stage::Stage;
use super::watch::{Event, REFRESHES, Watch};

/// How often the watcher looks; quick enough to be live, and cheap.
const LOOK: Duration = Duration::from_millis(100);
/// The fixed story ends in well under this, or something is wrong.
const LONGEST_STORY: Duration = Duration::from_secs(18);
/// Letters of the fixed story.
const LETTERS: usize = 40;
/// When its bursts come, in milliseconds, and how many letters each brings.
const BURSTS: [(u64, usize); 6] = [
    (0, 3),
    (300, 12),
    (1_400, 1),
    (1_900, 10),
    (3_200, 8),
    (4_300, 6),
];
/// The token endpoint is away for so long.
const OUTAGE: Duration = Duration::from_secs(1);
/// The open-ended play repeats its special letters and its troubles after so many letters,
const ROUND: u32 = 20;
/// and pauses so many milliseconds between two.
const PAUSE: std::ops::Range<u64> = 600..3_000;
/// After Ctrl-C, what is in flight gets so long to arrive.
const LAST_LETTERS: Duration = Duration::from_secs(8);

/// How a play ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Everything has arrived.
    AtRest,
    /// Somebody stopped it before that.
    Stopped,
    /// It took too long.
    OutOfTime,
}

/// Plays the fixed story.
pub(super) async fn once(
    stage: &Stage,
    watch: &mut Watch,
    screen: &Screen,
    stop: &mut Stop,
) -> anyhow::Result<End> {
    let began = Instant::now();
    let mut post = post()?;
    defer_once(stage);
    let mut outage_planned = false;
    while began.elapsed() < LONGEST_STORY {
        while let Some((_, letter)) = post.pop_if(|(due, _)| *due <= began.elapsed()) {
            screen.tell(&watch.put(letter));
        }
        for event in watch.look()? {
            screen.tell(&event);
        }
        // Right after a refresh, so that the next one meets it.
        if !outage_planned && watch.refreshes() > 0 {
            outage_planned = true;
            token_outage(stage, screen);
        }
        hurry(stage, watch, screen).await?;
        if post.is_empty() && watch.refreshes() >= REFRESHES && watch.at_rest()? {
            return Ok(End::AtRest);
        }
        if stop.within(LOOK).await {
            return Ok(End::Stopped);
        }
    }
    Ok(End::OutOfTime)
}

/// Plays until Ctrl-C, then lets what is in flight arrive.
pub(super) async fn live(
    stage: &Stage,
    watch: &mut Watch,
    screen: &Screen,
    stop: &mut Stop,
) -> anyhow::Result<End> {
    let mut writer = Writer::new(fastrand::u64(..));
    let mut next = Instant::now();
    let mut written: u32 = 0;
    loop {
        if Instant::now() >= next {
            written += 1;
            next += Duration::from_millis(fastrand::u64(PAUSE));
            for letter in letters(&mut writer, written)? {
                screen.tell(&watch.put(letter));
            }
            match written % ROUND {
                4 => defer_once(stage),
                12 => token_outage(stage, screen),
                _ => {}
            }
        }
        for event in watch.look()? {
            screen.tell(&event);
        }
        if stop.within(LOOK).await {
            break;
        }
    }
    screen.tell(&Event::Note(
        "no more letters; what is in flight may arrive".to_owned(),
    ));
    let end = Instant::now() + LAST_LETTERS;
    while Instant::now() < end {
        for event in watch.look()? {
            screen.tell(&event);
        }
        if watch.at_rest()? {
            return Ok(End::AtRest);
        }
        hurry(stage, watch, screen).await?;
        if stop.within(LOOK).await {
            return Ok(End::Stopped);
        }
    }
    Ok(End::OutOfTime)
}

/// Mostly one letter; now and then a burst, a question that is urgent, or one that meets a database restart.
fn letters(writer: &mut Writer, written: u32) -> anyhow::Result<Vec<Letter>> {
    match written % ROUND {
        5 => Ok(vec![
            writer.about(&format!("{URGENT} is the server down?"))?,
        ]),
        9 => Ok(vec![
            writer.about(&format!("A letter that {DATABASE_AWAY}"))?,
        ]),
        15 => (0..6).map(|_| writer.next()).collect(),
        _ => Ok(vec![writer.next()?]),
    }
}

/// The fixed story's letters with their times, the last one first.
fn post() -> anyhow::Result<Vec<(Duration, Letter)>> {
    let mut writer = Writer::new(7);
    let mut post = Vec::with_capacity(LETTERS);
    for (due, count) in BURSTS {
        for _ in 0..count {
            let letter = match post.len() {
                4 => writer.about(&format!("{URGENT} is the server down?"))?,
                6 => writer.about(&format!("A letter that {DATABASE_AWAY}"))?,
                // More than half of the letters are questions.
                number if number % 3 == 0 => writer.about("May I ask one more thing?")?,
                _ => writer.next()?,
            };
            post.push((Duration::from_millis(due), letter));
        }
    }
    post.reverse();
    Ok(post)
}

/// The colleague on call can't be reached at the first try.
fn defer_once(stage: &Stage) {
    let later = Fault::Reply("451 4.3.0 try again later".to_owned());
    stage
        .provider
        .fault(Service::Smtp, &format!("RCPT TO:<{ON_CALL}>"), 1, later);
}

/// The token endpoint answers with a web page for a while, as a proxy in front of a dead server does.
fn token_outage(stage: &Stage, screen: &Screen) {
    let busy = Fault::http(
        503,
        "text/html",
        &[],
        "<html><h1>503 Service Unavailable</h1></html>",
    );
    stage
        .provider
        .fault_for(Service::Oauth, "/token", OUTAGE, busy);
    let words = format!(
        "the provider's token endpoint is away for {} s",
        OUTAGE.as_secs()
    );
    screen.tell(&Event::Note(words));
}

/// What would wait for longer than the play lasts is tried at once, as an administrator can.
async fn hurry(stage: &Stage, watch: &Watch, screen: &Screen) -> anyhow::Result<()> {
    let messages = watch.patient()?;
    if !messages.is_empty() {
        for message in &messages {
            screen.tell(&Event::Note(format!(
                "an administrator says: postern queue retry {}",
                message.0
            )));
        }
        stage.spool().retry(Some(messages)).await?;
    }
    Ok(())
}

/// Ctrl-C and SIGTERM, from the moment this is made.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for so long; whether a signal came.
    async fn within(&mut self, time: Duration) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => true,
            () = sleep_until(Instant::now() + time) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_story_has_its_forty_letters_in_order_and_half_are_questions() {
        let post = post().unwrap();
        assert_eq!(post.len(), LETTERS);
        assert!(post.is_sorted_by(|a, b| a.0 >= b.0));
        let questions = post
            .iter()
            .filter(|(_, letter)| letter.subject.contains('?'))
            .count();
        assert!(questions >= 20, "{questions}");
        for wanted in [URGENT, DATABASE_AWAY] {
            assert!(
                post.iter()
                    .any(|(_, letter)| letter.subject.contains(wanted)),
                "{wanted}"
            );
        }
    }
}
