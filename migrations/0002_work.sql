-- purpose: executors, jobs with their leases, attempts and what reports left behind
-- breaking: yes

CREATE TABLE executors (
  executor_id text PRIMARY KEY,
  epoch bigint NOT NULL,
  labels jsonb NOT NULL,
  queues text[] NOT NULL,
  capacity integer NOT NULL,
  registered_at timestamptz NOT NULL,
  heartbeat_at timestamptz NOT NULL
) WITH (
  -- one update per heartbeat, of no indexed column: HOT, with room for it on the page
  fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05
);

-- Queue, kind and requirements, interned: the claim index starts with the class, so that a poll names
-- the classes its executor can serve and never walks past jobs it can't.
CREATE TABLE classes (
  class_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue text NOT NULL,
  kind text NOT NULL,
  requires jsonb NOT NULL,
  UNIQUE (queue, kind, requires)
);

CREATE TABLE jobs (
  id uuid PRIMARY KEY,
  queue text NOT NULL,
  kind text NOT NULL,
  class_id integer NOT NULL,
  state text NOT NULL DEFAULT 'available'
    CHECK (state IN ('available', 'leased', 'waiting', 'succeeded', 'failed', 'cancelled')),
  -- available, but not before run_at: outside the claim index until the waker lets it in
  scheduled boolean NOT NULL,
  priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 9),
  run_at timestamptz NOT NULL,
  -- order of claims: run_at minus ten minutes a step of priority, so that nothing starves
  claim_at timestamptz NOT NULL,
  -- +1 whenever ownership is given or taken away; never lowered, never reused (invariant 2)
  fence bigint NOT NULL DEFAULT 0,
  -- the live attempt, or how many are spent; a lost lease gives its number back (invariant 11)
  attempt integer NOT NULL DEFAULT 0,
  max_attempts integer NOT NULL CHECK (max_attempts BETWEEN 1 AND 1000),
  lost_leases integer NOT NULL DEFAULT 0,
  backoff_base_ms integer NOT NULL,
  backoff_factor real NOT NULL,
  backoff_cap_ms integer NOT NULL,
  run_timeout_ms integer,
  on_silence text NOT NULL CHECK (on_silence IN ('continue', 'abort')),
  -- the lease: columns of this row, so that a guard reads it where it writes
  executor_id text,
  epoch bigint,
  -- given in answer to this poll; and not yet listed by a heartbeat of its executor
  poll_id text,
  offered boolean NOT NULL DEFAULT false,
  leased_at timestamptz,
  lease_expires_at timestamptz,
  labels jsonb NOT NULL,
  -- json, not jsonb: it is handed on, never looked into, and jsonb refuses \u0000
  payload json NOT NULL,
  -- so that a claim can bound its answer without reading what it leaves
  payload_bytes integer NOT NULL GENERATED ALWAYS AS (octet_length(payload::text)) STORED,
  -- W3C Trace Context of whoever submitted it; handed to its executors, no part of what was asked for
  traceparent text,
  idempotency_key text,
  body_hash bytea,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  CONSTRAINT leased_iff_owned CHECK (
    (state = 'leased') = (executor_id IS NOT NULL)
    AND (state = 'leased') = (epoch IS NOT NULL)
    AND (state = 'leased') = (leased_at IS NOT NULL)
    AND (state = 'leased') = (lease_expires_at IS NOT NULL)
  ),
  CONSTRAINT offered_only_if_leased CHECK (NOT offered OR state = 'leased'),
  CONSTRAINT scheduled_only_if_available CHECK (NOT scheduled OR state = 'available'),
  CONSTRAINT finished_iff_final CHECK (
    (state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)
  ),
  CONSTRAINT hashed_iff_keyed CHECK ((idempotency_key IS NULL) = (body_hash IS NULL))
) WITH (
  -- lease renewals are HOT (lease_expires_at is in no index) as long as the page has room;
  -- payloads above half a KiB go out of line, so that no renewal copies them;
  -- a queue's dead rows are cleaned early, or claims walk over them
  fillfactor = 85, toast_tuple_target = 512,
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1,
  autovacuum_analyze_scale_factor = 0.05
);

CREATE INDEX jobs_claimable ON jobs (class_id, claim_at, id)
  WHERE state = 'available' AND NOT scheduled;
CREATE INDEX jobs_due ON jobs (run_at, id) WHERE state = 'available' AND scheduled;
CREATE INDEX jobs_leased ON jobs (executor_id, id) WHERE state = 'leased';
CREATE INDEX jobs_failed ON jobs (id) WHERE state = 'failed';
-- the key of a cancelled job is free again, though still shown
CREATE UNIQUE INDEX jobs_idempotency ON jobs (queue, idempotency_key)
  WHERE idempotency_key IS NOT NULL AND state <> 'cancelled';

-- One row per lease that ended, written by the statement that ends it. No foreign key: it would lock
-- the job's row once more for each.
CREATE TABLE attempts (
  job_id uuid NOT NULL,
  fence bigint NOT NULL,
  attempt integer NOT NULL,
  executor_id text NOT NULL,
  epoch bigint NOT NULL,
  outcome text NOT NULL
    CHECK (outcome IN ('succeeded', 'failed', 'cancelled', 'released', 'lost', 'undelivered')),
  result json,
  error json,
  started_at timestamptz NOT NULL,
  ended_at timestamptz NOT NULL,
  PRIMARY KEY (job_id, fence)
);

-- What an executor last said of a job's progress; the next attempt gets it as its checkpoint.
CREATE TABLE progress (
  job_id uuid PRIMARY KEY,
  fence bigint NOT NULL,
  progress json NOT NULL,
  updated_at timestamptz NOT NULL
) WITH (fillfactor = 70);

-- Reports that came too late to count, kept as evidence (invariant 3).
CREATE TABLE late_reports (
  job_id uuid NOT NULL,
  executor_id text NOT NULL,
  epoch bigint NOT NULL,
  fence bigint NOT NULL,
  outcome text NOT NULL,
  reason text NOT NULL,
  result json,
  error json,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (job_id, executor_id, epoch, fence, outcome)
);
