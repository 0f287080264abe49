import type pg from 'pg'
import type { Queryable } from './pool.ts'

export interface ReplicaIdentity {
  replicaId: string
  name: string
  advertisedUrl: string
  role: 'all' | 'api'
  version: string
  activeLockId: string
}

/** Writes, or after a lost session renews, the row of this replica. Returns its number. */
export async function registerReplica(tx: Queryable, replica: ReplicaIdentity): Promise<number> {
  const { rows } = await tx.query<{ number: number }>({
    text: `INSERT INTO replicas (replica_id, name, advertised_url, role, version, active_lock_id)
      VALUES ($1, $2, $3, $4, $5, $6)
      ON CONFLICT (replica_id) DO UPDATE SET gone_at = NULL
      RETURNING number`,
    values: [
      replica.replicaId,
      replica.name,
      replica.advertisedUrl,
      replica.role,
      replica.version,
      replica.activeLockId,
    ],
  })
  if (!rows[0]) throw new Error('the row of this replica was not written')
  return rows[0].number
}

/** Shows, for as long as the session lives, that replica `number` does. False: an earlier session of
 *  the same replica still stands on the server. */
export async function showAlive(client: pg.Client, number: number): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>(
    'SELECT pg_try_advisory_lock(1970168948, $1) AS locked',
    [number],
  )
  return rows[0]?.locked === true
}

/** Whether a session, of whomever, shows that replica `number` is alive. */
export async function isShownAlive(client: pg.Client, number: number): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 1970168948 AND objid = $1
      AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [number],
  )
  return (rowCount ?? 0) > 0
}

/** Probes and marks in one transaction: a replica whose lock is free has no session any more. */
export async function markGoneReplicas(tx: Queryable): Promise<number> {
  const { rowCount } = await tx.query({
    text: `UPDATE replicas SET gone_at = clock_timestamp()
      WHERE gone_at IS NULL AND pg_try_advisory_xact_lock(1970168948, number)`,
  })
  return rowCount ?? 0
}

export interface ReplicaRow {
  replica_id: string
  name: string
  advertised_url: string
  role: 'all' | 'api'
  version: string
  /** Text: it may be any bigint. */
  active_lock_id: string
  started_at: string
}

/** Replicas that are not marked gone. One that died since the last promotion may still be listed, so
 *  each is probed: its lock, free, says that it is gone. */
export async function listLiveReplicas(db: Queryable): Promise<ReplicaRow[]> {
  const { rows } = await db.query<ReplicaRow>({
    text: `SELECT replica_id, name, advertised_url, role, version, active_lock_id::text, started_at
      FROM replicas r
      WHERE gone_at IS NULL AND EXISTS (
        SELECT FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.classid = 1970168948 AND l.objid = r.number::bigint
          AND l.objsubid = 2 AND l.granted
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      ) ORDER BY name, started_at`,
  })
  return rows
}
