//! What a mailbox can't have by POP3: refused when the file is read, not at the first message.

use provider_template::Entry;

use super::reader::Section;

/// Microsoft's permissions: each opens a mailbox for one protocol. The templates ask for both.
const IMAP_SCOPE: &str = "IMAP.AccessAsUser.All";
const POP3_SCOPE: &str = "POP.AccessAsUser.All";
const NO_FOLDER: &str = "POP3 has no folder to move messages to";

/// Notes as mistakes what only IMAP can do, and a token that opens the mailbox for IMAP only.
pub(super) fn check(section: &Section<'_>, entry: Option<&Entry>) {
    if let Some(field) = section.get("folders")
        && let Some(folders) = field.list("[INBOX]")
        && !folders.iter().all(|folder| {
            folder
                .scalar()
                .is_some_and(|f| f.eq_ignore_ascii_case("INBOX"))
        })
    {
        field.mistake("POP3 has no folders but the INBOX; leave this out, or use protocol: imap");
    }
    if let Some(field) = section.get("after") {
        match field.scalar() {
            Some("seen") => {
                field.mistake("POP3 can't mark messages as seen; expected delete or keep, or use protocol: imap");
            }
            None => field.mistake(format!(
                "{NO_FOLDER}; expected delete or keep, or use protocol: imap"
            )),
            Some(_) => {}
        }
    }
    if let Some(field) = section.get("failed")
        && field.scalar().is_none()
    {
        field.mistake(format!("{NO_FOLDER}; expected keep, or use protocol: imap"));
    }
    let scope = entry.map_or("", |entry| entry.config.scope.as_str());
    if scope.contains(IMAP_SCOPE)
        && !scope.contains(POP3_SCOPE)
        && let Some(field) = section.get("protocol")
    {
        let better = scope.replace(IMAP_SCOPE, POP3_SCOPE);
        field.mistake(format!(
            "its token opens the mailbox for IMAP only; give the token config `scope: {better}`, and the permission {POP3_SCOPE} to the app"
        ));
    }
}
