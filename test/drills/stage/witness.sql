-- In the database of a drill: every transaction of a leader says in Postgres' own log which term and replica
-- it wrote as. The product's function is called as it is, and decides as ever.

ALTER FUNCTION fence_term(bigint, uuid) RENAME TO fence_term_unwitnessed;

CREATE FUNCTION fence_term(p_term bigint, p_replica_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM fence_term_unwitnessed(p_term, p_replica_id);
  PERFORM pg_logical_emit_message(true, 'understudy.writer', p_term || ' ' || p_replica_id);
END $$;
