//! What SMTP and LMTP clients have in common on the wire: replies, the keywords of a hello, dot-stuffing.

mod capabilities;
mod reply;
mod stuff;

pub use capabilities::Capabilities;
pub use reply::{Reply, ReplyError, read};
pub use stuff::Stuffer;
