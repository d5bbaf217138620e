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

-- The CSRF token is made of the session's cookie, which is stored nowhere.
ALTER TABLE session DROP COLUMN csrf;
-- From where and with what a session was opened, so that its owner knows it again.
ALTER TABLE session ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN agent TEXT NOT NULL DEFAULT '';

-- From where; empty on the command line.
ALTER TABLE audit ADD COLUMN source TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_at ON audit (at);

-- The second factor's secret, sealed, and the last step of the time whose code was used.
ALTER TABLE admin ADD COLUMN totp BLOB;
ALTER TABLE admin ADD COLUMN totp_step INTEGER;

-- One-time links to the admin page. `id` is the SHA-256 of the link's key; the administrator need not exist yet.
CREATE TABLE admin_link (
    id         TEXT PRIMARY KEY NOT NULL,
    admin      TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
