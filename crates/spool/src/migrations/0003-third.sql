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

-- Deliveries that ended well, by the hour since 1970; a month of them.
CREATE TABLE hourly (
  direction TEXT NOT NULL,
  hour      INTEGER NOT NULL,
  delivered INTEGER NOT NULL,
  PRIMARY KEY (direction, hour)
) STRICT, WITHOUT ROWID;

-- How many deliveries of an account are due or under way, held, and delivered but not yet acknowledged: follows `delivery`, so that
-- asking costs the same however many there are.
CREATE TABLE backlog (
  direction TEXT NOT NULL,
  account   TEXT NOT NULL,
  waiting   INTEGER NOT NULL,
  held      INTEGER NOT NULL,
  delivered INTEGER NOT NULL,
  PRIMARY KEY (direction, account)
) STRICT, WITHOUT ROWID;
INSERT INTO backlog (direction, account, waiting, held, delivered)
  SELECT direction, account, count(*) FILTER (WHERE due_at IS NOT NULL), count(*) FILTER (WHERE state = 'held'),
    count(*) FILTER (WHERE state = 'delivered')
  FROM delivery GROUP BY direction, account;
CREATE TRIGGER delivery_added AFTER INSERT ON delivery BEGIN
  INSERT INTO backlog (direction, account, waiting, held, delivered)
  VALUES (new.direction, new.account, new.due_at IS NOT NULL, new.state = 'held', new.state = 'delivered')
  ON CONFLICT DO UPDATE SET waiting = waiting + excluded.waiting, held = held + excluded.held,
    delivered = delivered + excluded.delivered;
END;
-- Between due, waiting and claimed nothing is counted anew.
CREATE TRIGGER delivery_changed AFTER UPDATE OF state ON delivery
WHEN old.state <> new.state AND (old.due_at IS NULL OR new.due_at IS NULL) BEGIN
  UPDATE backlog SET waiting = waiting + (new.due_at IS NOT NULL) - (old.due_at IS NOT NULL),
    held = held + (new.state = 'held') - (old.state = 'held'),
    delivered = delivered + (new.state = 'delivered') - (old.state = 'delivered')
  WHERE direction = new.direction AND account = new.account;
END;
CREATE TRIGGER delivery_gone AFTER DELETE ON delivery BEGIN
  UPDATE backlog SET waiting = waiting - (old.due_at IS NOT NULL), held = held - (old.state = 'held'),
    delivered = delivered - (old.state = 'delivered')
  WHERE direction = old.direction AND account = old.account;
END;
