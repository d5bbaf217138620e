//! Smuggling: no published way to end a message early does so, however the bytes are cut and whichever command brings them.
use super::scripted::{cut, replies, shared};
use super::*;

/// The forms published in 2023 and 2024 (CVE-2023-51764, -51765, -51766 and what followed them) and their kin.
const FORMS: [&str; 24] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\r\n.\r",
    "\n.\r",
    "\r.\n",
    "\r\r\n.\r\r\n",
    "\r\n.\r\r\n",
    "\r\n\r.\r\n",
    "\n\r.\r\n",
    "\n\n.\r\n",
    "\n\n.\n\n",
    "\r\r.\r\r",
    "\r\0\n.\r\n",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\r\n.\r\0\n",
    "\0\r\n.\n",
    "\r\n.\n\r\n",
    "\r\n.\r.\r\n.\n",
    "\r\n..\r\n",
    "\r\n .\r\n",
];

const ENVELOPE: &str = "MAIL FROM:<a@helpdesk.example>\r\nRCPT TO:<b@example.org>\r\n";
const EVIL: &str = "MAIL FROM:<evil@helpdesk.example>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\n\
    Subject: smuggled\r\n\r\nevil\r\n";

struct Bench {
    shared: Arc<Shared>,
    spool: Spool,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new(bare_newlines: BareNewlines) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path()).expect("a spool");
        let rules = Rules {
            max_size: MAX_SIZE,
            bare_newlines,
        };
        Self {
            shared: shared(&spool, rules),
            spool,
            _folder: folder,
        }
    }

    /// Whether the one message between EHLO and NOOP was taken; nothing of it was read as a command.
    async fn takes(&self, stream: &[u8], pieces: Vec<Vec<u8>>, between: usize) -> bool {
        let heard = replies(&self.shared, pieces).await;
        let shown = stream.escape_ascii();
        assert_eq!(heard.len(), 2 + 2 + between + 2, "{shown}: {heard:?}");
        assert!(
            heard[heard.len() - 1].starts_with("221"),
            "{shown}: {heard:?}"
        );
        assert!(
            heard[heard.len() - 2].starts_with("214"),
            "{shown}: {heard:?}"
        );
        heard[heard.len() - 3].starts_with("250 2.0.0 Ok: accepted as")
    }

    /// The texts that were taken since the last look.
    async fn texts(&self) -> Vec<Vec<u8>> {
        let hour = Duration::from_secs(3600);
        let claims = self.spool.claim_out("support", 10_000, hour).await;
        let mut texts = Vec::new();
        for claim in claims.expect("claims") {
            assert_eq!(claim.recipients[0].address, "b@example.org");
            texts.push(text_of(&self.spool, &claim).await.1);
        }
        texts
    }
}

fn is_sound(form: &str) -> bool {
    !form.contains('\0') && !form.replace("\r\n", "").contains(['\r', '\n'])
}

/// The stream of one message by DATA.
fn by_data(text: &str) -> String {
    format!("EHLO x\r\n{ENVELOPE}DATA\r\n{text}.\r\nHELP\r\nQUIT\r\n")
}

#[tokio::test]
async fn in_data_no_form_ends_the_message_wherever_a_packet_ends() {
    let bench = Bench::new(BareNewlines::Refuse);
    for form in FORMS {
        let stream = by_data(&format!("Subject: x\r\n\r\none{form}{EVIL}"));
        let stream = stream.as_bytes();
        for place in 0..stream.len() {
            let taken = bench.takes(stream, cut(stream, [place]), 2).await;
            assert_eq!(taken, is_sound(form), "{form:?} cut at {place}");
        }
        let bytes = cut(stream, 0..stream.len());
        assert_eq!(
            bench.takes(stream, bytes, 2).await,
            is_sound(form),
            "{form:?}"
        );
        bench.texts().await;
    }
}

#[tokio::test]
async fn repaired_every_form_is_text_of_the_one_message() {
    let bench = Bench::new(BareNewlines::Repair);
    for form in FORMS {
        let stream = by_data(&format!("Subject: x\r\n\r\none{form}{EVIL}"));
        let stream = stream.as_bytes();
        let start = memchr::memmem::find(stream, b"one").expect("the text");
        for place in start..start + form.len() + 4 {
            let taken = bench.takes(stream, cut(stream, [place]), 2).await;
            assert_eq!(taken, !form.contains('\0'), "{form:?} cut at {place}");
        }
        let texts = bench.texts().await;
        assert_eq!(texts.is_empty(), form.contains('\0'), "{form:?}");
        for text in texts {
            let text = String::from_utf8(text).expect("text");
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text:?}");
            assert!(text.ends_with(EVIL), "{form:?}: {text:?}");
        }
    }
}

/// In a chunk even CRLF.CRLF is text, and wherever one ends no command begins before its octets are over.
#[tokio::test]
async fn in_chunks_no_form_ends_the_message_wherever_a_chunk_ends() {
    for bare_newlines in [BareNewlines::Refuse, BareNewlines::Repair] {
        let bench = Bench::new(bare_newlines);
        for form in FORMS.into_iter().chain(["\r\n.\r\n", "\r\n.\r\n.\r\n"]) {
            let text = format!("Subject: x\r\n\r\none{form}{EVIL}");
            let start = text.find("one").expect("the text");
            for place in start..start + form.len() + 4 {
                let (first, last) = text.split_at(place);
                let stream = format!(
                    "EHLO x\r\n{ENVELOPE}BDAT {}\r\n{first}BDAT {} LAST\r\n{last}HELP\r\nQUIT\r\n",
                    first.len(),
                    last.len()
                );
                let stream = stream.as_bytes();
                let packets = cut(stream, (0..stream.len()).step_by(7));
                let taken = bench.takes(stream, packets, 2).await;
                let repaired = bare_newlines == BareNewlines::Repair && !form.contains('\0');
                assert_eq!(taken, is_sound(form) || repaired, "{form:?} cut at {place}");
            }
            for stored in bench.texts().await {
                let stored = String::from_utf8(stored).expect("text");
                assert!(stored.ends_with(EVIL), "{form:?}: {stored:?}");
                assert!(!is_sound(form) || stored == text, "{form:?}: {stored:?}");
            }
        }
    }
}
