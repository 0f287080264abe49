-- purpose: who did what to the cluster, for good
-- breaking: no

-- Append-only: a replica needs SELECT and INSERT here, and no more.
CREATE TABLE audit (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  action text NOT NULL,
  -- what it was done to: a token's id, a term's number
  subject text NOT NULL,
  -- by whom: a token's id, or `bootstrap` for that of a replica's configuration
  token_id text NOT NULL,
  role text NOT NULL,
  request_id text NOT NULL,
  reason text,
  facts jsonb NOT NULL DEFAULT '{}'
);
