-- Who may sign in to a submission listener. Times in milliseconds since 1970.
CREATE TABLE submitter (
    name          TEXT PRIMARY KEY NOT NULL,
    password_hash TEXT NOT NULL,
    -- A JSON list of addresses and @domains that they may send as; empty: every sender that a relay serves.
    senders       TEXT NOT NULL DEFAULT '[]',
    changed_at    INTEGER NOT NULL
) STRICT;
