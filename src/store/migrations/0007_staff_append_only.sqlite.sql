-- The staff log can only grow, as the controllers' logs can.
CREATE TRIGGER staff_events_no_update BEFORE UPDATE ON staff_events BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER staff_events_no_delete BEFORE DELETE ON staff_events BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- REPLACE removes the row that is in its way without running a delete trigger.
CREATE TRIGGER staff_events_no_replace BEFORE INSERT ON staff_events WHEN EXISTS (SELECT 1 FROM staff_events WHERE seq = NEW.seq) BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
