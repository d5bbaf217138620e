//! Failures on order: an answer replaced, delayed or lost, a connection dropped.
use std::time::{Duration, Instant};

/// One of the provider's servers. `at` of a fault is the start of what the client says, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The path: `/token`.
    Oauth,
    /// The command without its tag: `SELECT`, `UID FETCH`; or `GREETING`.
    Imap,
    /// The command: `MAIL`, `RCPT TO:<one@example.com>`; `.` for the end of a message; or `GREETING`.
    Smtp,
    /// The command: `RETR 3`, `QUIT`; or `GREETING`.
    Pop3,
}

/// What happens in place of the honest answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// These words, and nothing is carried out. IMAP: what follows the tag (`NO [UNAVAILABLE] later`); SMTP and POP3: the
    /// reply without its line end (`451 4.3.0 later`, `-ERR [IN-USE] later`); HTTP: a whole response, see [`Fault::http`].
    Reply(String),
    /// The connection is closed, and nothing was carried out.
    Drop,
    /// Everything is carried out, but the connection is closed before the answer: the client is in doubt.
    Lose,
    /// Everything is carried out, and the connection is closed after so many bytes of the answer: in the middle of a literal, say.
    /// Only IMAP and POP3 count; the others give nothing of the answer.
    Cut(usize),
    /// The honest answer, late; until then nothing is carried out.
    Delay(Duration),
    /// Everything is carried out, and the answer comes late: time to kill a client in its window of doubt.
    Withhold(Duration),
}

impl Fault {
    /// An HTTP response with a status, more header lines (`Retry-After: 2`) and a body.
    pub fn http(status: u16, content_type: &str, headers: &[&str], body: &str) -> Self {
        let mut text = format!("HTTP/1.1 {status} Fault\r\nContent-Type: {content_type}\r\n");
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        text.push_str(&format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
        Self::Reply(text)
    }
}

/// How long a planned fault lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lasts {
    Times(u32),
    Until(Instant),
}

#[derive(Debug)]
struct Planned {
    service: Service,
    at: String,
    lasts: Lasts,
    fault: Fault,
}

impl Planned {
    fn meets(&self, said: &[u8]) -> bool {
        said.get(..self.at.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(self.at.as_bytes()))
    }
}

/// The faults still to come, in the order they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Planned>);

impl Faults {
    pub(crate) fn plan(&mut self, service: Service, at: &str, lasts: Lasts, fault: Fault) {
        self.0.push(Planned {
            service,
            at: at.to_owned(),
            lasts,
            fault,
        });
    }

    /// The fault that meets what the client said, if one does; it is used up once.
    pub(crate) fn take(&mut self, service: Service, said: &[u8], now: Instant) -> Option<Fault> {
        self.0.retain(|planned| match planned.lasts {
            Lasts::Times(left) => left > 0,
            Lasts::Until(end) => end > now,
        });
        let planned = self
            .0
            .iter_mut()
            .find(|planned| planned.service == service && planned.meets(said))?;
        if let Lasts::Times(left) = &mut planned.lasts {
            *left -= 1;
        }
        Some(planned.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_order_and_only_where_they_were_planned() {
        let now = Instant::now();
        let mut faults = Faults::default();
        faults.plan(Service::Smtp, "MAIL", Lasts::Times(2), Fault::Drop);
        faults.plan(Service::Smtp, "MAIL", Lasts::Times(1), Fault::Lose);
        assert_eq!(faults.take(Service::Imap, b"MAIL", now), None);
        assert_eq!(faults.take(Service::Smtp, b"RCPT", now), None);
        let met: Vec<_> = (0..4)
            .map(|_| faults.take(Service::Smtp, b"mail FROM:<>", now))
            .collect();
        assert_eq!(
            met,
            [
                Some(Fault::Drop),
                Some(Fault::Drop),
                Some(Fault::Lose),
                None
            ]
        );
    }

    #[test]
    fn an_outage_ends_with_its_time() {
        let now = Instant::now();
        let mut faults = Faults::default();
        let end = now + Duration::from_secs(1);
        faults.plan(Service::Oauth, "/token", Lasts::Until(end), Fault::Drop);
        let just_before = end - Duration::from_millis(1);
        assert_eq!(
            faults.take(Service::Oauth, b"/token", just_before),
            Some(Fault::Drop)
        );
        assert_eq!(faults.take(Service::Oauth, b"/token", end), None);
    }
}
