//! What a FETCH response brings of a body.

use imap_proto::{AttributeValue, MessageSection, Response, SectionPath};

use crate::error::FetchError;

/// A body section as it came.
pub(in crate::imap) struct Came {
    pub(in crate::imap) uid: u32,
    pub(in crate::imap) bytes: Vec<u8>,
    /// X-GM-MSGID.
    pub(in crate::imap) provider_id: Option<u64>,
    /// Where in the body it begins, if the server says so.
    index: Option<u32>,
}

impl Came {
    /// A server that ignores the offset would have its pieces glued together wrongly.
    pub(in crate::imap) fn must_start_at(&self, offset: u32) -> Result<(), FetchError> {
        match self.index {
            Some(at) if at == offset => Ok(()),
            None if offset == 0 => Ok(()),
            None if self.bytes.is_empty() => Ok(()),
            _ => Err(FetchError::Again(format!(
                "the server was asked for a body from byte {offset} and answered with another part of it"
            ))),
        }
    }
}

/// UID and body of a FETCH that brings the whole text (None), or the given section; NIL is empty.
pub(in crate::imap) fn body_of(
    response: &Response<'_>,
    wanted: Option<&MessageSection>,
) -> Option<Came> {
    let Response::Fetch(_, items) = response else {
        return None;
    };
    let (mut uid, mut came, mut provider_id) = (None, None, None);
    for item in items {
        match item {
            AttributeValue::Uid(n) => uid = Some(*n),
            AttributeValue::GmailMsgId(n) => provider_id = Some(*n),
            AttributeValue::BodySection {
                section,
                index,
                data,
            } => {
                let matches = match (section, wanted) {
                    (None, None) => true,
                    (Some(SectionPath::Full(got)), Some(wanted)) => got == wanted,
                    _ => false,
                };
                if matches {
                    came = Some((data.as_deref().unwrap_or_default().to_vec(), *index));
                }
            }
            _ => {}
        }
    }
    let (bytes, index) = came?;
    Some(Came {
        uid: uid?,
        bytes,
        provider_id,
        index,
    })
}
