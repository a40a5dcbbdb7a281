-- What one connected system tells about a person is passed to the others: identifiers found in exactly matched records.

-- Identifiers that the step found (sealed), and their types in clear.
ALTER TABLE steps ADD COLUMN yielded {blob};
ALTER TABLE steps ADD COLUMN yields TEXT NOT NULL DEFAULT '';
-- How many times its request had been told new identifiers when the step was last begun.
ALTER TABLE steps ADD COLUMN seen BIGINT NOT NULL DEFAULT 0;
-- The how manieth time it was when this step found its own.
ALTER TABLE steps ADD COLUMN yield_no BIGINT NOT NULL DEFAULT 0;
-- How many times new identifiers were found for the request.
ALTER TABLE dsrs ADD COLUMN yields BIGINT NOT NULL DEFAULT 0;
