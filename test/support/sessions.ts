import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { onTestFinished } from 'vitest'
import { createLog } from '../../src/log.ts'
import { createDoors } from '../../src/sql/doors.ts'
import { openPool } from '../../src/sql/pool.ts'
import { poolSettings } from '../../src/sql/session.ts'
import { patientOptions } from './patience.ts'
import { pause } from './pause.ts'

/** A bare session, as a frozen replica's would be: no settings, no pool. */
export async function openSession(url: string, name = 'test session'): Promise<pg.Client> {
  const client = new pg.Client(patientOptions(url, name))
  client.on('error', () => undefined)
  await client.connect()
  onTestFinished(() => client.end())
  return client
}

/** Resolves once the session with this pid waits for a lock. */
export async function untilWaiting(observer: pg.Client, pid: number): Promise<void> {
  for (;;) {
    const { rows } = await observer.query(
      "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'",
      [pid],
    )
    if (rows.length > 0) return
    await pause()
  }
}

/** The pid of the first session of this database that waits for a lock. */
export async function untilAnyWaiting(observer: pg.Client): Promise<number> {
  for (;;) {
    const { rows } = await observer.query<{ pid: number }>(
      `SELECT pid FROM pg_locks JOIN pg_class c ON c.oid = relation
        WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    )
    if (rows[0]) return rows[0].pid
    await pause()
  }
}

export async function pidOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  return rows[0]?.pid ?? 0
}

/** Makes a replica row, takes its lock and promotes it, as election does. Returns the term. */
export async function promoteByHand(
  client: pg.Client,
  replicaId: string,
  lockId = '504946615666',
): Promise<number> {
  await client.query(
    `INSERT INTO replicas (replica_id, name, advertised_url, role, version, active_lock_id)
      VALUES ($1, 'by hand', '', 'all', '0', $2) ON CONFLICT DO NOTHING`,
    [replicaId, lockId],
  )
  await client.query('SELECT pg_advisory_lock($1::bigint)', [lockId])
  const { rows } = await client.query<{ term: number }>('SELECT promote($1) AS term', [replicaId])
  return rows[0]?.term ?? 0
}

/** However long a writer is held up: what ends it is its successor, never a timeout of its own. */
const noTimeouts = {
  ...poolSettings,
  lock_timeout: '0',
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
}

/** A replica that leads, as its parts: the lock session, and the doors with the pool behind them. */
export async function reign(url: string) {
  const replicaId = randomUUID()
  const lock = await openSession(url, 'old lock')
  const number = await promoteByHand(lock, replicaId)
  const lost: string[] = []
  const pool = openPool({
    url,
    name: 'old leader',
    size: 3,
    settings: noTimeouts,
    log: createLog('silent'),
    onRefusedSettings: () => undefined,
  })
  // Nor may the driver give up on one.
  pool.options.query_timeout = 0
  onTestFinished(() => pool.end())
  const doors = createDoors({ leader: pool, client: pool })
  return {
    term: { number, replicaId, lose: (why: string) => lost.push(why) },
    lost,
    lock,
    pool,
    doors,
  }
}
