-- The conversation of an outbound delivery at its recipient, as a number: a later message of it does not overtake an earlier one.
ALTER TABLE delivery ADD COLUMN thread INTEGER;
CREATE INDEX delivery_thread ON delivery (thread) WHERE thread IS NOT NULL AND due_at IS NOT NULL;
