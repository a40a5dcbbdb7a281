-- The database itself keeps what a hold stops out of the queue, whoever writes the row: a worker claims what is ready.
CREATE TRIGGER steps_held AFTER UPDATE OF q, held, phase ON steps WHEN NEW.held = 1 AND NEW.phase = 'act' AND NEW.q IN ('ready', 'wait') BEGIN UPDATE steps SET q = 'hold' WHERE id = NEW.id; END;
