//! Rows of `device_consent`: sign-ins on another device, until they end, and for a while how.

use super::Rows;
use crate::seal::Place;
use crate::{Secret, StoreError, now};
use rusqlite::{OptionalExtension, Row, named_params};

/// How long the end of a sign-in stays to be read by the page or command that waits for it.
const REMEMBERED: i64 = 3600 * 1000;

/// A sign-in on another device. Times are milliseconds, since 1970 or long.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) config: String,
    pub(crate) fingerprint: String,
    pub(crate) device_code: Secret,
    pub(crate) user_code: Secret,
    pub(crate) verification_uri: String,
    pub(crate) complete_uri: Option<Secret>,
    /// Between two questions.
    pub(crate) pause: i64,
    /// No question before this.
    pub(crate) next_at: i64,
    pub(crate) expires_at: i64,
    /// Who has to sign in; None: anybody.
    pub(crate) expected: Option<String>,
    /// None while it waits for the person.
    pub(crate) end: Option<DeviceEnd>,
}

/// How a sign-in on another device ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceEnd {
    Granted,
    /// Why it came to nothing, and what to do.
    Refused(String),
}

struct Raw {
    device: Device,
    device_code: Vec<u8>,
    user_code: Vec<u8>,
    complete_uri: Option<Vec<u8>>,
}

impl Raw {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let words: Option<String> = row.get("words")?;
        Ok(Self {
            device_code: row.get("device_code")?,
            user_code: row.get("user_code")?,
            complete_uri: row.get("complete_uri")?,
            device: Device {
                config: row.get("config")?,
                fingerprint: row.get("fingerprint")?,
                device_code: Secret::default(),
                user_code: Secret::default(),
                verification_uri: row.get("verification_uri")?,
                complete_uri: None,
                pause: row.get("pause")?,
                next_at: row.get("next_at")?,
                expires_at: row.get("expires_at")?,
                expected: row.get("expected")?,
                end: match row.get_ref("state")?.as_str()? {
                    "granted" => Some(DeviceEnd::Granted),
                    "refused" => Some(DeviceEnd::Refused(words.unwrap_or_default())),
                    _ => None,
                },
            },
        })
    }
}

impl Rows<'_> {
    /// Enters a sign-in that begins, in place of an earlier one of this config; forgets those that ended long ago.
    pub(crate) fn begin_device(&self, device: &Device) -> Result<(), StoreError> {
        self.connection.execute(
            "DELETE FROM device_consent WHERE config = ?1 OR expires_at < ?2",
            (&device.config, now() - REMEMBERED),
        )?;
        let seal = |column, secret| self.seal(&place(&device.config, column), secret);
        let complete_uri = device.complete_uri.as_ref();
        self.connection.execute(
            "INSERT INTO device_consent (config, fingerprint, device_code, user_code, verification_uri, complete_uri,
                pause, next_at, expires_at, expected, state)
             VALUES (:config, :fingerprint, :device_code, :user_code, :verification_uri, :complete_uri,
                :pause, :next_at, :expires_at, :expected, 'waiting')",
            named_params! {
                ":config": device.config,
                ":fingerprint": device.fingerprint,
                ":device_code": seal("device_code", &device.device_code)?,
                ":user_code": seal("user_code", &device.user_code)?,
                ":verification_uri": device.verification_uri,
                ":complete_uri": complete_uri.map(|uri| seal("complete_uri", uri)).transpose()?,
                ":pause": device.pause,
                ":next_at": device.next_at,
                ":expires_at": device.expires_at,
                ":expected": device.expected,
            },
        )?;
        Ok(())
    }

    /// The sign-in of a config, under way or ended.
    pub(crate) fn device(&self, config: &str) -> Result<Option<Device>, StoreError> {
        let found = self.connection.query_row(
            "SELECT * FROM device_consent WHERE config = ?1",
            [config],
            Raw::read,
        );
        let Some(raw) = found.optional()? else {
            return Ok(None);
        };
        let unseal = |column, sealed: &[u8]| self.unseal(&place(config, column), sealed);
        let complete_uri = raw.complete_uri.as_deref();
        Ok(Some(Device {
            device_code: unseal("device_code", &raw.device_code)?,
            user_code: unseal("user_code", &raw.user_code)?,
            complete_uri: complete_uri
                .map(|sealed| unseal("complete_uri", sealed))
                .transpose()?,
            ..raw.device
        }))
    }

    /// The sign-ins under way, and when each is to be asked about next.
    pub(crate) fn devices_under_way(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT config, min(next_at, expires_at) FROM device_consent WHERE state = 'waiting'",
        )?;
        let under_way = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(under_way)
    }

    /// Sets when to ask next, if nobody did since `seen`. False: another process asks already, or another sign-in began.
    pub(crate) fn schedule_device(
        &self,
        config: &str,
        seen: i64,
        pause: i64,
        next_at: i64,
    ) -> Result<bool, StoreError> {
        let changed = self.connection.execute(
            "UPDATE device_consent SET pause = ?3, next_at = ?4
             WHERE config = ?1 AND next_at = ?2 AND state = 'waiting'",
            (config, seen, pause, next_at),
        )?;
        Ok(changed == 1)
    }

    /// Ends the sign-in that is under way.
    pub(crate) fn end_device(&self, config: &str, end: DeviceEnd) -> Result<(), StoreError> {
        let (state, words) = match end {
            DeviceEnd::Granted => ("granted", None),
            DeviceEnd::Refused(words) => ("refused", Some(words)),
        };
        self.connection.execute(
            "UPDATE device_consent SET state = ?2, words = ?3 WHERE config = ?1 AND state = 'waiting'",
            (config, state, words),
        )?;
        Ok(())
    }
}

fn place<'a>(config: &'a str, column: &'static str) -> Place<'a> {
    Place {
        table: "device_consent",
        row: config,
        column,
    }
}
