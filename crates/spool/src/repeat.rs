//! What keeps a repeated delivery from doubling its message: a name for it that lasts, and who has it already.

use rusqlite::params;

use crate::error::Result;
use crate::{DeliveryId, Spool};

impl Spool {
    /// A name for this spool that no other has: together with a message's number it names that message for good, also beside
    /// messages of a spool that was begun anew.
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// These recipients of a delivery have it: whatever becomes of the others, it is never for these again. To be called before
    /// the delivery is settled.
    pub async fn handed_to(&self, delivery: DeliveryId, recipients: Vec<String>) -> Result<()> {
        self.inner
            .writer
            .call(move |t| {
                t.execute(
                    "UPDATE delivery SET done_for = ?2 WHERE id = ?1",
                    params![delivery.0, recipients.join("\n")],
                )?;
                Ok(())
            })
            .await
    }
}

/// As the tables keep them: one a line.
pub(crate) fn recipients(text: Option<String>) -> Vec<String> {
    text.iter()
        .flat_map(|text| text.lines())
        .map(str::to_owned)
        .collect()
}
