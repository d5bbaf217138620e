-- Facts about the file itself; `key_check` is a known text, sealed.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;

-- `entry` is the exchange document without the client secret.
CREATE TABLE token_config (
    name          TEXT PRIMARY KEY NOT NULL,
    template      TEXT,
    declared_in   TEXT,
    valid         INTEGER NOT NULL,
    flow          TEXT NOT NULL CHECK (flow IN ('authorization_code', 'client_credentials')),
    -- Whose grant it is: client id and token endpoints, hashed.
    fingerprint   TEXT NOT NULL,
    entry         TEXT NOT NULL,
    client_secret BLOB NOT NULL
) STRICT;

-- One row per config, and per subject for service accounts. Times in milliseconds since 1970.
CREATE TABLE token (
    config              TEXT NOT NULL REFERENCES token_config(name) ON DELETE CASCADE,
    subject             TEXT NOT NULL DEFAULT '',
    version             INTEGER NOT NULL,
    generation          INTEGER NOT NULL,
    state               TEXT NOT NULL CHECK (state IN ('needs_consent', 'ready', 'broken')),
    access_token        BLOB,
    access_version      INTEGER,
    obtained_at         INTEGER,
    expires_at          INTEGER,
    refresh_at          INTEGER,
    rejected            INTEGER NOT NULL DEFAULT 0,
    refresh_token       BLOB,
    refresh_obtained_at INTEGER,
    refresh_expires_at  INTEGER,
    failure_at          INTEGER,
    failure_words       TEXT,
    failure_advice      TEXT,
    retry_at            INTEGER,
    attempts            INTEGER NOT NULL DEFAULT 0,
    refusals            INTEGER NOT NULL DEFAULT 0,
    refreshes           INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (config, subject)
) STRICT;

-- Refresh tokens that lost their place without being replaced: the config changed its client or went away, or
-- an answer came late. No reference to token_config, because they outlive it; a deletion by hand removes them.
CREATE TABLE former_refresh_token (
    id            INTEGER PRIMARY KEY,
    config        TEXT NOT NULL,
    subject       TEXT NOT NULL DEFAULT '',
    fingerprint   TEXT NOT NULL,
    refresh_token BLOB NOT NULL,
    kept_at       INTEGER NOT NULL,
    why           TEXT NOT NULL
) STRICT;
CREATE INDEX former_refresh_token_config ON former_refresh_token (config, fingerprint);

-- A consent under way. State and session are stored hashed: who reads the file can't finish it.
CREATE TABLE consent (
    state        TEXT PRIMARY KEY NOT NULL,
    session      TEXT NOT NULL,
    config       TEXT NOT NULL REFERENCES token_config(name) ON DELETE CASCADE,
    fingerprint  TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    verifier     BLOB NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE mailbox (
    name         TEXT PRIMARY KEY NOT NULL,
    declared_in  TEXT,
    token_config TEXT REFERENCES token_config(name),
    definition   TEXT NOT NULL,
    password     BLOB
) STRICT;

CREATE TABLE relay (
    name         TEXT PRIMARY KEY NOT NULL,
    declared_in  TEXT,
    token_config TEXT REFERENCES token_config(name),
    definition   TEXT NOT NULL,
    password     BLOB
) STRICT;

CREATE TABLE admin (
    name          TEXT PRIMARY KEY NOT NULL,
    password_hash TEXT NOT NULL,
    changed_at    INTEGER NOT NULL
) STRICT;

-- `id` is the cookie's SHA-256; the cookie itself is stored nowhere.
CREATE TABLE session (
    id         TEXT PRIMARY KEY NOT NULL,
    admin      TEXT NOT NULL REFERENCES admin(name) ON DELETE CASCADE,
    csrf       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    id   INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    who  TEXT NOT NULL,
    what TEXT NOT NULL
) STRICT;
