import pg from 'pg'
import type { Log } from '../log.ts'
import { asUnavailable } from './failure.ts'
import {
  applySettings,
  connectionOptions,
  leaderPoolSettings,
  poolSettings,
  type SessionSettings,
} from './session.ts'

/** Anything that statements can be run on: the pool (reads) or a transaction's client. */
export interface Queryable {
  query<Row extends pg.QueryResultRow>(query: pg.QueryConfig): Promise<pg.QueryResult<Row>>
}

export interface PoolOptions {
  url: string
  name: string
  size: number
  /** Sessions that stay open, however long they idle. Default: one. */
  min?: number
  /** Default: those that all have. */
  settings?: SessionSettings
  log: Log
  onRefusedSettings(names: string[]): void
}

/** The pool, with a listener on itself and on every client: a session that ends between two awaits
 *  would otherwise end the process (node-postgres#2439). */
export function openPool({
  url,
  name,
  size,
  min = 1,
  settings = poolSettings,
  log,
  onRefusedSettings,
}: PoolOptions): pg.Pool {
  const pool = new pg.Pool({
    ...connectionOptions(url, name),
    max: size,
    min,
    idleTimeoutMillis: 30_000,
    onConnect: async (client) => {
      client.on('error', (error) => log.debug({ err: error }, 'a pool session ended'))
      onRefusedSettings(await applySettings(client, settings))
    },
  })
  pool.on('error', (error) => log.debug({ err: error }, 'an idle pool session ended'))
  return pool
}

/** What executors need never queues behind what clients ask for: each has half of `size`. The leader's sessions
 *  stay, so that a promotion need not wait for any. */
export function openPools(options: PoolOptions): { leader: pg.Pool; client: pg.Pool } {
  const { leader, client } = poolSizes(options.size)
  return {
    leader: openPool({ ...options, size: leader, min: leader, settings: leaderPoolSettings }),
    client: openPool({ ...options, size: client }),
  }
}

export function poolSizes(size: number): { leader: number; client: number } {
  const client = Math.floor(size / 2)
  return { leader: size - client, client }
}

/** Reads outside a transaction; a session that fails one is not used again. */
export function createReader(pool: pg.Pool): Queryable {
  return {
    query: async (query) => {
      try {
        return await pool.query(query)
      } catch (error) {
        throw asUnavailable(error)
      }
    },
  }
}

/** Returns a client to the pool, or destroys it where it may be out of step with the server: a client
 *  that timed out answers later queries with earlier answers (node-postgres#3399). */
export function release(client: pg.PoolClient, inStep: boolean): void {
  if (!inStep) destroySocket(client)
  client.release(!inStep)
}

/** Ends the connection now; end() alone would wait for a peer that may never answer. */
export function destroySocket(client: pg.ClientBase): void {
  const { connection } = client as unknown as { connection?: { stream?: { destroy(): void } } }
  connection?.stream?.destroy()
}
