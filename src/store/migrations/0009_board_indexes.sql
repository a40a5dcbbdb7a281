-- Each order in which open requests are read or counted has one index, in which the controller stands as well, so that a page of the
-- list, a list of Today and its count are read from the same one, whosever requests they are.
DROP INDEX dsrs_open_due_whose;
DROP INDEX dsrs_open_due;
CREATE INDEX dsrs_open_due ON dsrs(due_before, id, controller_id, clock_state) WHERE closed_at IS NULL;
DROP INDEX dsrs_forecast_late;
CREATE INDEX dsrs_forecast_late ON dsrs(forecast_late, due_before, id, controller_id) WHERE forecast_late = 1 AND closed_at IS NULL;
DROP INDEX dsrs_open_act_by;
CREATE INDEX dsrs_open_act_by ON dsrs(forecast_act_by, id, controller_id) WHERE closed_at IS NULL AND forecast_act_by IS NOT NULL;
DROP INDEX dsrs_open_status;
CREATE INDEX dsrs_open_status ON dsrs(status, due_before, id, controller_id) WHERE closed_at IS NULL;
