-- The staff log can only grow, as the controllers' logs can.
CREATE TRIGGER staff_events_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON staff_events FOR EACH STATEMENT EXECUTE FUNCTION events_append_only();
