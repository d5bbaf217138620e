-- Since when a delivery is held. What was held before this column counts from now on: too long rather than too short.
ALTER TABLE delivery ADD COLUMN held_at INTEGER;
UPDATE delivery SET held_at = unixepoch() WHERE state = 'held';
-- A person wants it held once its present attempt has ended, with this reason.
ALTER TABLE delivery ADD COLUMN hold_why TEXT;
CREATE INDEX delivery_wish ON delivery (direction, account) WHERE hold_why IS NOT NULL;
-- The mailbox's copy of a held message was moved out of the way: there is nothing to acknowledge any more.
ALTER TABLE message ADD COLUMN aside INTEGER NOT NULL DEFAULT 0;

-- What the submitter asked to be told (RFC 3461): RET and ENVID of a message, NOTIFY and ORCPT of a recipient.
ALTER TABLE message ADD COLUMN ret TEXT;
ALTER TABLE message ADD COLUMN envid TEXT;
ALTER TABLE delivery ADD COLUMN notify TEXT;
ALTER TABLE delivery ADD COLUMN orcpt TEXT;

-- Which submissions were taken within the last day: a repeated one is not a second message. `key` is a hash.
CREATE TABLE submitted (
    key     BLOB PRIMARY KEY NOT NULL,
    message INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX submitted_at ON submitted (at);

-- The provider's own number of a message (Gmail: X-GM-MSGID), where it has one: the same message under two labels is one message.
ALTER TABLE seen ADD COLUMN provider_id TEXT;
CREATE INDEX seen_provider ON seen (provider_id) WHERE provider_id IS NOT NULL;

-- What `start_from` left in the mailbox unread: it has no content hash, so size and time of arrival know it again when
-- uidvalidity changes.
CREATE TABLE left_out (
  folder      INTEGER NOT NULL REFERENCES folder (id),
  uidvalidity INTEGER NOT NULL,
  uid         INTEGER NOT NULL,
  size        INTEGER NOT NULL,
  arrived     INTEGER NOT NULL,
  PRIMARY KEY (folder, uidvalidity, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX left_out_print ON left_out (folder, size, arrived);

-- Acknowledged, but only flagged \Deleted: the server can't expunge single messages, and others' mail is flagged too.
CREATE TABLE flagged (
  folder      INTEGER NOT NULL REFERENCES folder (id),
  uidvalidity INTEGER NOT NULL,
  uid         INTEGER NOT NULL,
  PRIMARY KEY (folder, uidvalidity, uid)
) STRICT, WITHOUT ROWID;

-- What this spool's own bounces and notices are known by when they come back.
CREATE TABLE instance (id TEXT NOT NULL) STRICT;
INSERT INTO instance (id) VALUES (lower(hex(randomblob(8))));

-- Of our own making: 'bounce' or 'notice'. An inbound message without a folder never was in a mailbox.
ALTER TABLE message ADD COLUMN own TEXT;
ALTER TABLE message ADD COLUMN own_id TEXT;

-- Which of our own messages a mailbox's ticket command was given already.
CREATE TABLE own (
  mailbox TEXT NOT NULL,
  id      TEXT NOT NULL,
  at      INTEGER NOT NULL,
  PRIMARY KEY (mailbox, id)
) STRICT, WITHOUT ROWID;

-- Recipients of an inbound delivery that have it, one a line: a repeat is for the others alone.
ALTER TABLE delivery ADD COLUMN done_for TEXT;
-- POP3 names messages by text (UIDL). A name's number is the uid of its key, under uidvalidity 0, which no IMAP folder has.
CREATE TABLE uidl (
  folder INTEGER NOT NULL REFERENCES folder (id),
  uid    INTEGER NOT NULL,
  name   BLOB,                                         -- null: the server gave none, or gave it twice
  gone   INTEGER NOT NULL DEFAULT 0,                   -- the server confirmed that it deleted the message
  PRIMARY KEY (folder, uid)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX uidl_name ON uidl (folder, name);
CREATE INDEX uidl_live ON uidl (folder) WHERE gone = 0;


-- What the sender of a recipient is owed a report of: 'failed' (it is held and will not leave by itself), 'relayed' (it left, and the
-- relay reports nothing). A delay is told once.
ALTER TABLE delivery ADD COLUMN report TEXT CHECK (report IN ('failed', 'relayed'));
ALTER TABLE delivery ADD COLUMN delay_told INTEGER NOT NULL DEFAULT 0;
CREATE INDEX delivery_report ON delivery (account) WHERE report IS NOT NULL;
-- Mail that no person wrote (RFC 3834) is reported to nobody.
ALTER TABLE message ADD COLUMN automatic INTEGER NOT NULL DEFAULT 0;

-- The uidvalidity under which a folder was last listed to its end, and since when: keys of others are matched by content for
-- some days from then.
ALTER TABLE folder ADD COLUMN uidvalidity INTEGER;
ALTER TABLE folder ADD COLUMN whole_at INTEGER;
