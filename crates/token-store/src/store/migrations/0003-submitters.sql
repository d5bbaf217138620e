-- Who may sign in to a submission listener. Times in milliseconds since 1970.
CREATE TABLE submitter (
    name          TEXT PRIMARY KEY NOT NULL,
    password_hash TEXT NOT NULL,
    -- A JSON list of addresses and @domains that they may send as; empty: every sender that a relay serves.
    senders       TEXT NOT NULL DEFAULT '[]',
    changed_at    INTEGER NOT NULL
) STRICT;

-- What a person said of an account, beside its definition: switched off for a while, whoever declares it. `version` counts the writes
-- of the definition, so that of two people who change it at the same time the second is told.
ALTER TABLE mailbox ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE relay ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE relay ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
