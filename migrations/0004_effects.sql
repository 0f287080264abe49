-- purpose: the ledger of irreversible acts
-- breaking: no

-- One row for each act that a job may do only once. Its state changes only under the row lock of its job.
CREATE TABLE effects (
  job_id uuid NOT NULL,
  key text NOT NULL,
  state text NOT NULL CHECK (state IN ('begun', 'committed', 'aborted', 'in_doubt')),
  -- fixed by the first begin
  on_doubt text NOT NULL CHECK (on_doubt IN ('retry', 'reconcile', 'hold')),
  -- the same for ever: outside systems take it for their idempotency key
  effect_token uuid NOT NULL DEFAULT gen_random_uuid(),
  -- who began it, and may have done it
  begin_id text NOT NULL,
  fence bigint NOT NULL,
  executor_id text NOT NULL,
  epoch bigint NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- who was told last that it is in doubt: with `reconcile`, the one to find out
  doubt_begin_id text,
  doubt_fence bigint,
  -- the job waits until an operator has resolved it
  holds boolean NOT NULL DEFAULT false,
  result json,
  settled_at timestamptz,
  -- the begin that committed or aborted it; null: an operator did
  settled_begin_id text,
  settled_fence bigint,
  PRIMARY KEY (job_id, key),
  CONSTRAINT settled_iff_known CHECK ((state IN ('committed', 'aborted')) = (settled_at IS NOT NULL)),
  CONSTRAINT holds_only_in_doubt CHECK (NOT holds OR state = 'in_doubt')
);

-- What a lease's end puts in doubt.
CREATE INDEX effects_begun ON effects (job_id) WHERE state = 'begun';

-- What executors said of an effect after they had lost the job: evidence, nothing more.
CREATE TABLE late_effects (
  job_id uuid NOT NULL,
  key text NOT NULL,
  begin_id text NOT NULL,
  executor_id text NOT NULL,
  epoch bigint NOT NULL,
  fence bigint NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('committed', 'aborted')),
  result json,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (job_id, key, fence, begin_id, outcome)
);
