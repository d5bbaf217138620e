-- The conversation of an outbound delivery at its recipient, as a number: a later message of it does not overtake an earlier one.
ALTER TABLE delivery ADD COLUMN thread INTEGER;
CREATE INDEX delivery_thread ON delivery (thread) WHERE thread IS NOT NULL AND due_at IS NOT NULL;

-- Accounts that a server wants left alone for a while. Such a time outlives a restart: whoever knocks earlier makes it longer at some
-- providers.
CREATE TABLE pause (
  direction TEXT NOT NULL,
  account   TEXT NOT NULL,
  kind      TEXT NOT NULL CHECK (kind IN ('told', 'guessed', 'turn')),
  peer      TEXT NOT NULL,                             -- whom it holds for: a mailbox that got another server has no pause there
  until     INTEGER NOT NULL,
  why       TEXT NOT NULL,
  PRIMARY KEY (direction, account, kind)
) STRICT, WITHOUT ROWID;

-- Which messages a relay took in the last minute, and when: its rate holds over a restart too.
CREATE TABLE sent (
  relay   TEXT NOT NULL,
  message INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  PRIMARY KEY (relay, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX sent_at ON sent (at);

-- How many keys were taken back, because a person wants their messages fetched again: who remembers a folder as looked through must look
-- again.
ALTER TABLE folder ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
