-- In all tests: a transaction that writes a job, its lease, an executor or a named lock must have come through one of
-- the two doors, and a client's may take no lease away from anyone.

CREATE FUNCTION guard_door() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF coalesce(current_setting('understudy.door', true), '') NOT IN ('leader', 'client', 'test') THEN
    RAISE EXCEPTION 'guard: % of % without a door', TG_OP, TG_TABLE_NAME;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION guard_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('understudy.door', true) = 'client' THEN
    RAISE EXCEPTION 'guard: a client changed the lease of job %', OLD.id;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION guard_fence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'guard: the fence in % was lowered from % to %', TG_TABLE_NAME, OLD.fence, NEW.fence;
END $$;

CREATE TRIGGER guard_door BEFORE INSERT OR UPDATE OR DELETE ON jobs
  FOR EACH STATEMENT EXECUTE FUNCTION guard_door();
CREATE TRIGGER guard_door BEFORE INSERT OR UPDATE OR DELETE ON executors
  FOR EACH STATEMENT EXECUTE FUNCTION guard_door();
CREATE TRIGGER guard_door BEFORE INSERT OR UPDATE OR DELETE ON attempts
  FOR EACH STATEMENT EXECUTE FUNCTION guard_door();
CREATE TRIGGER guard_door BEFORE INSERT OR UPDATE OR DELETE ON progress
  FOR EACH STATEMENT EXECUTE FUNCTION guard_door();
CREATE TRIGGER guard_door BEFORE INSERT OR UPDATE OR DELETE ON effects
  FOR EACH STATEMENT EXECUTE FUNCTION guard_door();
CREATE TRIGGER guard_door BEFORE INSERT OR UPDATE OR DELETE ON locks
  FOR EACH STATEMENT EXECUTE FUNCTION guard_door();
CREATE TRIGGER guard_door BEFORE INSERT OR UPDATE OR DELETE ON executor_events
  FOR EACH STATEMENT EXECUTE FUNCTION guard_door();
CREATE TRIGGER guard_door BEFORE INSERT OR UPDATE OR DELETE ON stages
  FOR EACH STATEMENT EXECUTE FUNCTION guard_door();
CREATE TRIGGER guard_door BEFORE INSERT OR UPDATE OR DELETE ON moves
  FOR EACH STATEMENT EXECUTE FUNCTION guard_door();
CREATE TRIGGER guard_door BEFORE INSERT OR UPDATE OR DELETE ON transitions
  FOR EACH STATEMENT EXECUTE FUNCTION guard_door();
CREATE TRIGGER guard_lease AFTER UPDATE ON jobs
  FOR EACH ROW WHEN (OLD.state = 'leased' AND
    (NEW.state, NEW.executor_id, NEW.epoch, NEW.fence, NEW.lease_expires_at)
      IS DISTINCT FROM (OLD.state, OLD.executor_id, OLD.epoch, OLD.fence, OLD.lease_expires_at))
  EXECUTE FUNCTION guard_lease();
CREATE TRIGGER guard_fence AFTER UPDATE ON jobs
  FOR EACH ROW WHEN (NEW.fence < OLD.fence) EXECUTE FUNCTION guard_fence();
CREATE TRIGGER guard_fence AFTER UPDATE ON locks
  FOR EACH ROW WHEN (NEW.fence < OLD.fence) EXECUTE FUNCTION guard_fence();
