-- Since when a delivery is held. What was held before this column counts from now on: too long rather than too short.
ALTER TABLE delivery ADD COLUMN held_at INTEGER;
UPDATE delivery SET held_at = unixepoch() WHERE state = 'held';
