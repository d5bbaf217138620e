//! Which conversation a message belongs to, by its header section (RFC 5322 section 3.6.4).
use mail_parser::{HeaderValue, MessageParser};

/// The Message-ID that the conversation is known by: the first of References, which every answer repeats, else the one of In-Reply-To, else
/// the message's own, since it begins one.
pub(crate) fn conversation(header: &[u8]) -> Option<String> {
    let message = MessageParser::default().parse_headers(header)?;
    let known = first(message.references()).or_else(|| first(message.in_reply_to()));
    known
        .or_else(|| message.message_id())
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
}

fn first<'a>(value: &'a HeaderValue<'_>) -> Option<&'a str> {
    match value {
        HeaderValue::Text(id) => Some(id),
        HeaderValue::TextList(ids) => ids.first().map(AsRef::as_ref),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_belongs_to_what_it_refers_to_and_the_first_message_to_itself() {
        for (header, known) in [
            ("Message-ID: <own@x>\r\n", Some("own@x")),
            (
                "Message-ID: <own@x>\r\nIn-Reply-To: <asked@y>\r\n",
                Some("asked@y"),
            ),
            (
                "In-Reply-To: <asked@y>\r\nReferences: <first@y>\r\n <second@x> <asked@y>\r\nMessage-ID: <own@x>\r\n",
                Some("first@y"),
            ),
            ("References: \r\nMessage-ID: <own@x>\r\n", Some("own@x")),
            ("Subject: no name at all\r\n", None),
        ] {
            assert_eq!(
                conversation(header.as_bytes()).as_deref(),
                known,
                "{header}"
            );
        }
    }
}
