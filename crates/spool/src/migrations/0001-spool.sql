-- Times are seconds since 1970. AUTOINCREMENT: an id that was ever given to a ticket system, a
-- relay or a person never names another message.

-- A mailbox folder that was listed at least once.
CREATE TABLE folder (
  id      INTEGER PRIMARY KEY,
  mailbox TEXT NOT NULL,
  name    TEXT NOT NULL,
  UNIQUE (mailbox, name)
) STRICT;

CREATE TABLE message (
  id                INTEGER PRIMARY KEY AUTOINCREMENT,
  direction         TEXT NOT NULL CHECK (direction IN ('in', 'out')),
  account           TEXT NOT NULL,                     -- mailbox, or relay
  folder            INTEGER REFERENCES folder (id),    -- the key of an inbound message
  uidvalidity       INTEGER,
  uid               INTEGER,
  sender            TEXT,                              -- the envelope of an outbound message
  smtputf8          INTEGER NOT NULL DEFAULT 0,
  eight_bit         INTEGER NOT NULL DEFAULT 0,
  header_from       TEXT NOT NULL,
  header_subject    TEXT NOT NULL,
  header_message_id TEXT NOT NULL,
  size              INTEGER NOT NULL,
  sha256            BLOB,                              -- null: never fetched
  place             TEXT NOT NULL CHECK (place IN ('inline', 'file', 'none')),
  file              TEXT,                              -- a name in spool/
  durable           INTEGER NOT NULL,                  -- the file is fsynced
  taken_at          INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX message_key ON message (folder, uidvalidity, uid) WHERE folder IS NOT NULL;

CREATE TABLE body (
  message INTEGER PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
  bytes   BLOB NOT NULL
) STRICT;

CREATE TABLE delivery (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  message       INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
  direction     TEXT NOT NULL,
  account       TEXT NOT NULL,
  recipient     TEXT,                                  -- outbound
  state         TEXT NOT NULL CHECK (state IN ('due', 'waiting', 'claimed', 'delivered', 'held')),
  due_at        INTEGER,                               -- claimed: the end of the lease; delivered, held: null
  attempts      INTEGER NOT NULL DEFAULT 0,
  refusals      INTEGER NOT NULL DEFAULT 0,
  doubts        INTEGER NOT NULL DEFAULT 0,
  since         INTEGER NOT NULL,                      -- the retry clock started
  blocked_for   INTEGER NOT NULL DEFAULT 0,            -- seconds the retry clock stood still
  blocked_since INTEGER,                               -- and has been standing still since
  why           TEXT NOT NULL DEFAULT '',
  output        TEXT,
  CHECK ((due_at IS NULL) = (state IN ('delivered', 'held')))
) STRICT;
CREATE INDEX delivery_message ON delivery (message);
CREATE INDEX delivery_due ON delivery (direction, account, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_rest ON delivery (direction, account, state) WHERE due_at IS NULL;

-- Every key that was ever taken in. The hash decides only when uidvalidity changes.
CREATE TABLE seen (
  folder      INTEGER NOT NULL REFERENCES folder (id),
  uidvalidity INTEGER NOT NULL,
  uid         INTEGER NOT NULL,
  sha256      BLOB,
  PRIMARY KEY (folder, uidvalidity, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_hash ON seen (folder, sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE counter (
  direction TEXT NOT NULL,
  account   TEXT NOT NULL,
  delivered INTEGER NOT NULL,
  PRIMARY KEY (direction, account)
) STRICT, WITHOUT ROWID;
