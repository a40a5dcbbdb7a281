-- The database itself keeps what a hold stops out of the queue, whoever writes the row: a worker claims what is ready.
CREATE FUNCTION step_is_held() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.q := 'hold'; RETURN NEW; END $$;
CREATE TRIGGER steps_held BEFORE UPDATE OF q, held, phase ON steps FOR EACH ROW WHEN (NEW.held = 1 AND NEW.phase = 'act' AND NEW.q IN ('ready', 'wait')) EXECUTE FUNCTION step_is_held();
