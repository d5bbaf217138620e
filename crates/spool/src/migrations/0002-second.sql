-- Since when a delivery is held. What was held before this column counts from now on: too long rather than too short.
ALTER TABLE delivery ADD COLUMN held_at INTEGER;
UPDATE delivery SET held_at = unixepoch() WHERE state = 'held';

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
