-- purpose: who leads: replicas, the leader row, terms, and the functions that fence and promote
-- breaking: yes

-- Advisory locks. Two-integer keys of our own class, so that no other user of the database and no
-- value of active_lock_id can collide with them:
--   (1970168947, 1)   the fence: shared by every writing transaction of the active, exclusive by promote()
--   (1970168947, 2)   migrations
--   (1970168948, n)   replica number n is alive
--   (1970168949, hashtext(name))   a replica of this name is alive

CREATE TABLE replicas (
  replica_id uuid PRIMARY KEY,
  number integer GENERATED ALWAYS AS IDENTITY UNIQUE,
  name text NOT NULL,
  advertised_url text NOT NULL,
  role text NOT NULL CHECK (role IN ('all', 'api')),
  version text NOT NULL,
  active_lock_id bigint NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  gone_at timestamptz
);

-- One row: the term that may write now. Nothing but promote() touches it.
CREATE TABLE leader (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  term bigint NOT NULL,
  replica_id uuid,
  active_lock_id bigint,
  system_identifier text,
  timeline integer,
  promoted_at timestamptz,
  CHECK ((term = 0) = (replica_id IS NULL))
);
INSERT INTO leader (term) VALUES (0);

-- A term's own row, ticked by its leader alone: writes to it never meet those that read `leader`.
CREATE TABLE terms (
  term bigint PRIMARY KEY,
  replica_id uuid NOT NULL,
  active_lock_id bigint NOT NULL,
  system_identifier text NOT NULL,
  timeline integer NOT NULL,
  promoted_at timestamptz NOT NULL,
  ticked_at timestamptz NOT NULL,
  -- last tick at which the gate was open: until then executors could have been heard
  served_at timestamptz,
  -- no deadline that can take work away ends before this instant (invariant 7); null: not yet known
  deadline_floor_at timestamptz,
  recovery jsonb NOT NULL DEFAULT '[]',
  ended_at timestamptz,
  end_reason text,
  CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) WITH (
  -- two updates a second on one row: room for HOT, and cleaned often while it is small
  fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0
);

-- Waits at most `slice_ms` for the lock of the active replica. The timeout is caught here, so that the
-- server logs no error per slice. False does not prove that the lock is not held: a grant may race
-- the timeout, and a session lock survives the rollback. The caller asks again on the same session,
-- or closes it.
CREATE FUNCTION wait_for_active_lock(p_lock_id bigint, p_slice_ms integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM set_config('lock_timeout', p_slice_ms::text, true);
  PERFORM pg_advisory_lock(p_lock_id);
  RETURN true;
EXCEPTION WHEN lock_not_available THEN
  RETURN false;
END $$;

-- Invariant 1. First call of every writing transaction of the active. The shared lock orders this
-- transaction against promote(), and the check is a second statement, whose snapshot is therefore
-- taken after any promotion that went first: VOLATILE and READ COMMITTED are both needed for that.
CREATE FUNCTION fence_term(p_term bigint, p_replica_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'fence_term needs READ COMMITTED' USING ERRCODE = 'UNT02';
  END IF;
  PERFORM pg_advisory_xact_lock_shared(1970168947, 1);
  PERFORM FROM leader WHERE term = p_term AND replica_id = p_replica_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'term % is over', p_term USING ERRCODE = 'UNT01';
  END IF;
  PERFORM set_config('understudy.door', 'leader', true);
END $$;

-- Makes the session that holds the lock the leader of the next term. It waits at most 250 ms for
-- writers of the term before: the caller then terminates those and asks again.
CREATE FUNCTION promote(p_replica_id uuid) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_lock_id bigint;
  v_other bigint;
  v_term bigint;
  v_now timestamptz;
BEGIN
  IF pg_is_in_recovery() THEN
    RAISE EXCEPTION 'this Postgres is in recovery' USING ERRCODE = 'UNT03';
  END IF;
  SELECT active_lock_id INTO STRICT v_lock_id FROM replicas WHERE replica_id = p_replica_id;
  PERFORM FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((classid::bigint << 32) | objid::bigint) = v_lock_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'this session does not hold the lock %', v_lock_id USING ERRCODE = 'UNT04';
  END IF;
  PERFORM set_config('lock_timeout', '250', true);
  PERFORM pg_advisory_xact_lock(1970168947, 1);
  SELECT l.active_lock_id INTO v_other FROM leader l JOIN terms t USING (term, replica_id)
    WHERE l.active_lock_id <> v_lock_id AND t.ended_at IS NULL
      AND t.ticked_at > clock_timestamp() - interval '5 seconds';
  IF FOUND THEN
    RAISE EXCEPTION 'a replica with active_lock_id % leads this database; this one stands with %',
      v_other, v_lock_id USING ERRCODE = 'UNT05';
  END IF;
  v_now := clock_timestamp();
  UPDATE leader SET
    term = term + 1,
    replica_id = p_replica_id,
    active_lock_id = v_lock_id,
    system_identifier = (SELECT s.system_identifier::text FROM pg_control_system() s),
    timeline = ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer,
    promoted_at = v_now
  RETURNING term INTO v_term;
  INSERT INTO terms
      (term, replica_id, active_lock_id, system_identifier, timeline, promoted_at, ticked_at)
    SELECT term, replica_id, active_lock_id, system_identifier, timeline, v_now, v_now FROM leader;
  RETURN v_term;
END $$;

-- The leader's ping, on its lock session. False: this term is over. Not worth a flush to disk: a tick
-- lost in a crash only makes the term look ended a little earlier.
CREATE FUNCTION tick(p_term bigint, p_replica_id uuid, p_serving boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  UPDATE terms SET
    ticked_at = clock_timestamp(),
    served_at = CASE WHEN p_serving THEN clock_timestamp() ELSE served_at END
  WHERE term = p_term AND replica_id = p_replica_id
    AND EXISTS (SELECT FROM leader l WHERE l.term = p_term AND l.replica_id = p_replica_id);
  RETURN FOUND;
END $$;

CREATE TABLE tokens (
  id text PRIMARY KEY,
  name text NOT NULL,
  role text NOT NULL CHECK (role IN ('executor', 'submit', 'read', 'operator', 'admin')),
  -- SHA-256 of the secret part; the secret itself is shown once and kept nowhere
  secret_hash bytea NOT NULL,
  executor_id text,
  queues text[],
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz
);

-- What a replica asks for, to drop revoked tokens from its memory.
CREATE INDEX tokens_revoked ON tokens (revoked_at) WHERE revoked_at IS NOT NULL;
