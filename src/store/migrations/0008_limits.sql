-- What workers without Redis spent of a credential's long windows, so that a restart does not have to take everything as used.

-- From when on everything that was spent of a window stands in ledger_slots (Unix ms, by this database's clock).
CREATE TABLE ledgers (
  credential TEXT NOT NULL,
  window_ms BIGINT NOT NULL,
  kept_since BIGINT NOT NULL,
  PRIMARY KEY (credential, window_ms)
);

-- What was spent in the slot that ends then.
CREATE TABLE ledger_slots (
  credential TEXT NOT NULL,
  window_ms BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  spent BIGINT NOT NULL,
  PRIMARY KEY (credential, window_ms, ends_at)
);

-- 1: this worker never had a Redis, and everything that it spends stands in the ledgers.
ALTER TABLE workers ADD COLUMN records BIGINT NOT NULL DEFAULT 0;
