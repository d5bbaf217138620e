//! What servers answer and mean: the table that is read before a reply counts by its class alone.
//!
//! Codes decide; words are looked at only where a provider puts the reason there and nowhere else. The first row that fits
//! counts. What no row knows is judged by RFC 5321: 4xx is tried again, 5xx is refused.
use wire::smtp::Reply;

/// What a reply is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The sign-in: the account's mail waits.
    SignIn,
    /// The provider no longer takes passwords: the account's mail waits.
    Passwords,
    /// What the account may send for now is used up: its mail waits.
    Quota,
    /// The provider has stopped the account, mostly because it suspects abuse: its mail waits.
    Stopped,
    /// Too many connections at once: fewer are made.
    Crowd,
    /// Too fast: the relay pauses, and the message is tried again.
    Haste,
    /// Too many recipients: they are tried again, in smaller numbers.
    Crew,
    /// The account may not send under this name: refused, with what to do.
    Sender,
}

/// A code, enhanced codes, words in lower case (none of them: any), and what they mean.
type Row = (&'static [u16], Enhanced, &'static [&'static str], About);

/// Which enhanced codes fit.
#[derive(Debug, Clone, Copy)]
enum Enhanced {
    Any,
    /// None was given.
    None,
    /// The class, the subject, and from which detail to which.
    Is(u16, u16, u16, u16),
}
use Enhanced::{Any, Is};

const PERMANENT: &[u16] = &[550, 551, 552, 553, 554];
const TEMPORARY: &[u16] = &[421, 450, 451, 452, 454];

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // RFC 4954 section 6, and Microsoft's 530 5.7.57 of a session that ran out.
    (&[530, 534, 535, 538], Any, &[], About::SignIn),
    // Microsoft, from the end of passwords on.
    (&[550], Is(5, 7, 30, 30), &[], About::Passwords),
    // Google: a user's, a relay's and a workspace's limit of a day. RFC 3463 calls 5.4.5 mail system congestion.
    (PERMANENT, Is(5, 4, 5, 5), &[], About::Quota),
    // Microsoft: recipients of a day; external recipients of a tenant or a mailbox; an internal exception that says it in words.
    (&[550], Is(5, 1, 90, 90), &[], About::Quota),
    (&[550], Is(5, 7, 232, 233), &[], About::Quota),
    (&[554], Is(5, 2, 0, 0), &["submissionquotaexceeded"], About::Quota),
    // Amazon SES.
    (&[454], Any, &["daily message quota exceeded"], About::Quota),
    // Microsoft: a bad outbound sender; an account or a tenant whose mail looks like spam.
    (&[550], Is(5, 1, 8, 8), &[], About::Stopped),
    (&[550], Is(5, 7, 501, 503), &[], About::Stopped),
    (&[550], Is(5, 7, 705, 705), &[], About::Stopped),
    (&[550], Is(5, 7, 750, 750), &[], About::Stopped),
    // Zoho.
    (&[550], Is(5, 4, 6, 6), &["unusual sending activity"], About::Stopped),
    // Microsoft; RFC 3463 calls 4.3.2 a system that takes no messages now, which is about connections where it closes one.
    (&[432], Any, &[], About::Crowd),
    (&[421], Is(4, 3, 2, 2), &[], About::Crowd),
    // Postfix and Exim say it in words.
    (&[421], Any, &["too many connections", "too many concurrent"], About::Crowd),
    // Google's 4.7.28 and Microsoft's 4.7.500 name the rate; Amazon SES, Postfix and Yahoo say it.
    (TEMPORARY, Is(4, 7, 28, 28), &[], About::Haste),
    (TEMPORARY, Is(4, 7, 500, 699), &["server busy", "rate"], About::Haste),
    (TEMPORARY, Any, &["sending rate exceeded", "too much mail", "rate limit", "temporarily deferred due to"], About::Haste),
    // RFC 5321 section 4.5.3.1.10 has servers that are older than its 452; one with an enhanced code of a mailbox means that one.
    (&[552], Enhanced::None, &["recipient"], About::Crew),
    (&[552], Is(5, 5, 3, 3), &[], About::Crew),
    // Microsoft: 5.7.60, and an exception that says it in words.
    (&[550, 554], Is(5, 7, 60, 60), &[], About::Sender),
    (&[554], Is(5, 2, 0, 0), &["sendasdenied"], About::Sender),
    (&[554], Is(5, 2, 252, 252), &[], About::Sender),
    // Postfix (reject_sender_login_mismatch).
    (&[553, 550], Is(5, 7, 1, 1), &["not owned by user"], About::Sender),
];

/// The first row that fits.
pub(super) fn about(reply: &Reply) -> Option<About> {
    let text = reply.text().to_ascii_lowercase();
    let fits = |(codes, enhanced, words, _): &&Row| {
        let enhanced = match (enhanced, reply.enhanced) {
            (Any, _) | (Enhanced::None, None) => true,
            (Is(class, subject, from, to), Some([c, s, detail])) => {
                (c, s) == (*class, *subject) && (*from..=*to).contains(&detail)
            }
            _ => false,
        };
        let said = words.is_empty() || words.iter().any(|word| text.contains(word));
        codes.contains(&reply.code) && enhanced && said
    };
    TABLE.iter().find(fits).map(|(.., about)| *about)
}
