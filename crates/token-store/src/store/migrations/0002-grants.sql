-- SQLite can't widen a CHECK: the table is made anew under its name. Foreign keys are off for that moment (see open.rs),
-- so that dropping the old table takes nothing with it; afterwards they are checked.
CREATE TABLE token_config_2 (
    name          TEXT PRIMARY KEY NOT NULL,
    template      TEXT,
    declared_in   TEXT,
    valid         INTEGER NOT NULL,
    flow          TEXT NOT NULL CHECK (flow IN
                      ('authorization_code', 'device_code', 'client_credentials', 'service_account', 'password')),
    -- Whose grant it is: client id and token endpoints, hashed.
    fingerprint   TEXT NOT NULL,
    -- Host and path of the token endpoint: what the refreshes of a config wait for together.
    endpoint      TEXT NOT NULL DEFAULT '',
    -- Days after which the provider forgets a refresh token that nobody uses.
    refresh_idle  INTEGER,
    -- The same, used or not.
    refresh_life  INTEGER,
    -- The exchange document without its secrets.
    entry         TEXT NOT NULL,
    client_secret BLOB NOT NULL,
    -- Of a certificate or a service account.
    private_key   BLOB,
    -- Of the resource owner.
    password      BLOB
) STRICT;
INSERT INTO token_config_2 (name, template, declared_in, valid, flow, fingerprint, entry, client_secret)
    SELECT name, template, declared_in, valid, flow, fingerprint, entry, client_secret FROM token_config;
DROP TABLE token_config;
ALTER TABLE token_config_2 RENAME TO token_config;

-- Who signed in, as far as the provider told.
ALTER TABLE token ADD COLUMN identity TEXT;
-- What the refresh token was granted for, where the config asks for another scope by now.
ALTER TABLE token ADD COLUMN granted_scope TEXT;

-- Who has to sign in; NULL: anybody.
ALTER TABLE consent ADD COLUMN expected TEXT;

-- A sign-in on another device (RFC 8628) under way, and for a while how it ended. A new one replaces it.
CREATE TABLE device_consent (
    config           TEXT PRIMARY KEY NOT NULL REFERENCES token_config(name) ON DELETE CASCADE,
    fingerprint      TEXT NOT NULL,
    device_code      BLOB NOT NULL,
    user_code        BLOB NOT NULL,
    verification_uri TEXT NOT NULL,
    -- The same with the code in it.
    complete_uri     BLOB,
    -- Milliseconds between two questions; `slow_down` makes it longer.
    pause            INTEGER NOT NULL,
    -- No question before this.
    next_at          INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    expected         TEXT,
    state            TEXT NOT NULL CHECK (state IN ('waiting', 'granted', 'refused')),
    words            TEXT
) STRICT;

-- Which mailboxes and relays sign in with a token: found without reading every definition.
ALTER TABLE mailbox ADD COLUMN user TEXT GENERATED ALWAYS AS (definition ->> '$.user') VIRTUAL;
ALTER TABLE relay ADD COLUMN user TEXT GENERATED ALWAYS AS (definition ->> '$.user') VIRTUAL;
CREATE INDEX mailbox_token_config ON mailbox (token_config, user);
CREATE INDEX relay_token_config ON relay (token_config, user);

-- What an administrator must see; open while `cleared_at` is NULL. Seconds since 1970. An id is never given twice.
CREATE TABLE notice (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    about      TEXT NOT NULL,
    words      TEXT NOT NULL,
    advice     TEXT NOT NULL,
    since      INTEGER NOT NULL,
    cleared_at INTEGER
) STRICT;
CREATE UNIQUE INDEX notice_open ON notice (kind, about) WHERE cleared_at IS NULL;

-- What each channel has told of a notice: so none is told twice, and one that fails is tried again without the others.
CREATE TABLE notice_told (
    notice    INTEGER NOT NULL REFERENCES notice(id) ON DELETE CASCADE,
    channel   TEXT NOT NULL,
    raised_at INTEGER,
    mended_at INTEGER,
    tries     INTEGER NOT NULL DEFAULT 0,
    retry_at  INTEGER,
    error     TEXT,
    PRIMARY KEY (notice, channel)
) STRICT, WITHOUT ROWID;

-- What a mailbox's HTTP deliveries are signed with, sealed.
ALTER TABLE mailbox ADD COLUMN deliver_secret BLOB;
