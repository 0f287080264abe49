-- purpose: how executors are, what they may be given, and how that came about
-- breaking: no

-- All of these change seldom, and none is in an index: heartbeats stay HOT.
ALTER TABLE executors
  -- by beats, as it was last recorded
  ADD COLUMN state text NOT NULL DEFAULT 'healthy'
    CHECK (state IN ('healthy', 'suspect', 'lost', 'deregistered')),
  -- by reports
  ADD COLUMN health text NOT NULL DEFAULT 'healthy'
    CHECK (health IN ('healthy', 'degraded', 'faulty')),
  -- healthy: how many in a row; degraded: how many since
  ADD COLUMN failures integer NOT NULL DEFAULT 0,
  ADD COLUMN successes integer NOT NULL DEFAULT 0,
  -- by an operator: whichever process has the id, until an operator ends it
  ADD COLUMN drained boolean NOT NULL DEFAULT false,
  -- by itself: the process of this epoch, and no later one, also where a build registers it that knows no drains
  ADD COLUMN drained_epoch bigint,
  -- the last epoch that was deregistered; the executor is gone until one is registered beyond the next
  ADD COLUMN deregistered_epoch bigint,
  -- +1 whenever what it may be given has changed: of two words about that, memory believes the later
  ADD COLUMN changes integer NOT NULL DEFAULT 0;

-- Written under the row lock of the executor; its last thousand are kept. No foreign key: the row is hot.
CREATE TABLE executor_events (
  executor_id text NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  epoch bigint NOT NULL,
  axis text NOT NULL CHECK (axis IN ('state', 'health', 'drain')),
  was text NOT NULL,
  became text NOT NULL,
  reason text NOT NULL,
  facts jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (executor_id, id)
);
