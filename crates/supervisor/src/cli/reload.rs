//! `postern reload`: the daemon reads its configuration file again, and says what it did.

use std::path::Path;

use super::exit::{Code, Failure};
use super::office::Office;
use super::table;
use crate::control::Question;

pub(crate) async fn reload(file: &Path) -> Result<(), Failure> {
    let office = Office::open(file).await?;
    let done = office.need_daemon()?.ask(&Question::Reload).await?;
    let words: Vec<String> = serde_json::from_value(done).map_err(|error| {
        let words = format!("the daemon is of another version than this command: {error}");
        Failure::new(Code::Software, words)
    })?;
    words
        .iter()
        .try_for_each(|line| table::line(&table::one_line(line)))
}
