-- The audit log can only grow: the database itself refuses anything else.
CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- REPLACE removes the row that is in its way without running a delete trigger.
CREATE TRIGGER events_no_replace BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events WHERE controller_id = NEW.controller_id AND seq = NEW.seq) BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
