//! The enhanced status code and the server's reply, out of the words that the queue keeps of an attempt.

use spool::report::Report;

/// What a report says of one recipient's last attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Diagnosis {
    /// `class.subject.detail` (RFC 3463).
    pub(super) status: String,
    /// The server's reply, where a server replied.
    pub(super) reply: Option<String>,
}

/// Reads the words: a reply stands in them as `550 5.1.1 text`, a reason of Postern's own as `5.3.4 text`. Without either the
/// status says only what kind of report it is.
pub(super) fn diagnose(report: Report, why: &str) -> Diagnosis {
    let reply = reply(why);
    let class = match report {
        Report::Failed => '5',
        Report::Delayed => '4',
        Report::Relayed => '2',
    };
    // A message that was given up after days has a temporary code, which RFC 3464 section 2.3.4 lets a failure have.
    let fits = |code: &String| report == Report::Failed || code.starts_with(class);
    let status = match reply {
        Some(reply) => reply.split(' ').nth(1).and_then(enhanced),
        None => starts(why).find_map(|text| enhanced(text.split(' ').next()?)),
    };
    let status = status.filter(fits);
    Diagnosis {
        status: status.unwrap_or_else(|| format!("{class}.0.0")),
        reply: reply.map(str::to_owned),
    }
}

/// From its three-digit code on, without what Postern adds in brackets.
fn reply(why: &str) -> Option<&str> {
    let found = starts(why).find(|text| {
        let (code, rest) = text.split_at_checked(3).unwrap_or(("", ""));
        code.bytes().all(|b| b.is_ascii_digit())
            && matches!(code.as_bytes().first(), Some(b'2'..=b'5'))
            && rest.starts_with(' ')
    })?;
    Some(found.split(" (in answer to ").next().unwrap_or(found))
}

/// What Postern puts before a reply, or before a reason of its own, ends with a colon.
fn starts(why: &str) -> impl Iterator<Item = &str> {
    let after_colon = why.match_indices(": ").map(|(at, _)| at + 2);
    std::iter::once(0).chain(after_colon).map(|at| &why[at..])
}

fn enhanced(word: &str) -> Option<String> {
    let parts: Vec<&str> = word.split('.').collect();
    let number =
        |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    (parts.len() == 3 && parts.iter().all(number) && parts[0].len() == 1).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_and_its_code_are_found_in_the_words_of_the_queue() {
        for (report, why, status, reply) in [
            (
                Report::Failed,
                "refused: 550 5.1.1 No such user (in answer to RCPT)",
                "5.1.1",
                Some("550 5.1.1 No such user"),
            ),
            (Report::Failed, "refused: 550 no", "5.0.0", Some("550 no")),
            (
                Report::Failed,
                "gave up after 5 d (40 attempts), at last: 451 4.7.1 Greylisted",
                "4.7.1",
                Some("451 4.7.1 Greylisted"),
            ),
            (
                Report::Failed,
                "gave up after 300 s, at last: nothing heard for 30 s",
                "5.0.0",
                None,
            ),
            (Report::Delayed, "the connection was closed", "4.0.0", None),
            (
                Report::Delayed,
                "552 5.3.4 too big",
                "4.0.0",
                Some("552 5.3.4 too big"),
            ),
            (
                Report::Relayed,
                "250 2.0.0 Ok: queued",
                "2.0.0",
                Some("250 2.0.0 Ok: queued"),
            ),
            (
                Report::Failed,
                "refused: 5.3.4 the message has 25 bytes, and the server takes at most 20",
                "5.3.4",
                None,
            ),
            (Report::Failed, "", "5.0.0", None),
            (Report::Failed, "550", "5.0.0", None),
        ] {
            let found = diagnose(report, why);
            assert_eq!(
                (found.status.as_str(), found.reply.as_deref()),
                (status, reply),
                "{why}"
            );
        }
    }
}
