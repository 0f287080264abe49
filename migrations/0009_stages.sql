-- purpose: stages of a job, the moves between them, and the owners of moves under way
-- breaking: no

ALTER TABLE jobs
  -- where the job is, or was when it ended; null: it has no stages, and what follows is as it is here
  ADD COLUMN stage text,
  -- +1 at each move, so that what was meant for one visit never hits the next
  ADD COLUMN move integer NOT NULL DEFAULT 0,
  -- the fence when the stage was entered: progress under a later one belongs to this visit
  ADD COLUMN stage_fence bigint NOT NULL DEFAULT 0,
  -- of the results that the stage is handed, so that a claim can bound its answer without reading them
  ADD COLUMN results_bytes integer NOT NULL DEFAULT 0,
  -- for whom it waits; null while it waits: for an effect, by a build that knew nothing else
  ADD COLUMN waiting_for text,
  -- NOT VALID: the rows that are there have none of this, and are not to be read for it
  ADD CONSTRAINT waiting_for_known
    CHECK (waiting_for IN ('effect', 'decision', 'transition')) NOT VALID,
  -- a build that knows nothing of it lets go what waits for an effect, and nothing else
  ADD CONSTRAINT decided_before_it_goes_on
    CHECK (waiting_for IS NULL OR waiting_for = 'effect' OR state = 'waiting') NOT VALID;

-- Fixed at submit, but for what came of each. Rows change only under the row lock of their job.
CREATE TABLE stages (
  job_id uuid NOT NULL,
  position smallint NOT NULL CHECK (position BETWEEN 0 AND 31),
  name text NOT NULL,
  -- null: a manual one, which no executor works on
  class_id integer,
  -- it was succeeded in, or approved, on the way to where the job is now
  done_at timestamptz,
  -- what its executor reported then: handed on to the stages after it, and to a retry of the job
  result json,
  PRIMARY KEY (job_id, position)
);

-- Each move of each job, for good: what led on, by whom, and why.
CREATE TABLE moves (
  job_id uuid NOT NULL,
  move integer NOT NULL,
  from_stage text NOT NULL,
  -- a stage, or `succeeded` or `failed`, which no stage may be called
  to_stage text NOT NULL,
  by text NOT NULL CHECK (by IN ('report', 'transition', 'commit')),
  -- of the lease whose success it was
  fence bigint,
  token_id text,
  reason text,
  idempotency_key text,
  body_hash bytea,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (job_id, move),
  CONSTRAINT hashed_iff_keyed CHECK ((idempotency_key IS NULL) = (body_hash IS NULL)),
  CONSTRAINT report_iff_fenced CHECK ((by = 'report') = (fence IS NOT NULL))
);
CREATE UNIQUE INDEX moves_idempotency ON moves (job_id, idempotency_key)
  WHERE idempotency_key IS NOT NULL;

-- Moves that an outside actor owns, or has owned, before it made them.
CREATE TABLE transitions (
  token uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  job_id uuid NOT NULL,
  -- from where
  stage text NOT NULL,
  move integer NOT NULL,
  owner text NOT NULL,
  boot_id text NOT NULL,
  -- the API token that it was begun with: nobody else takes it over by the owner's name
  token_id text NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  ended_at timestamptz,
  outcome text CHECK (outcome IN ('committed', 'abandoned', 'taken_over', 'forced', 'expired')),
  -- the move that it was committed as
  committed_move integer,
  CONSTRAINT ended_iff_outcome CHECK ((ended_at IS NULL) = (outcome IS NULL)),
  CONSTRAINT moved_iff_committed
    CHECK ((committed_move IS NOT NULL) = (outcome IS NOT DISTINCT FROM 'committed'))
);
CREATE UNIQUE INDEX transitions_live ON transitions (job_id) WHERE ended_at IS NULL;
CREATE INDEX transitions_displaced ON transitions (job_id) WHERE outcome = 'taken_over';
CREATE INDEX transitions_expiring ON transitions (expires_at, job_id) WHERE ended_at IS NULL;

ALTER TABLE attempts ADD COLUMN stage text;
