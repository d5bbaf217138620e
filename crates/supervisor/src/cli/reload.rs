//! `postern reload`: the daemon reads its configuration file again, and says what it did.

use std::path::Path;

use super::exit::Failure;
use super::office::{Office, answered};
use super::table;
use crate::control::Question;

pub(crate) async fn reload(file: &Path) -> Result<(), Failure> {
    let office = Office::open(file).await?;
    let done = office.need_daemon()?.ask(&Question::Reload).await?;
    let words: Vec<String> = answered(done)?;
    words
        .iter()
        .try_for_each(|line| table::line(&table::one_line(line)))
}
