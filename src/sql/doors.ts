import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { AppError } from '../errors.ts'
import { asUnavailable, isInStep, isRetryable, sqlState, termOver } from './failure.ts'
import { type Queryable, release } from './pool.ts'

/**
 * The two doors. Nothing else opens a writing transaction.
 *
 * `asLeader` carries the term: its first message holds BEGIN and fence_term(), so that once a later
 * term is committed nothing of this one commits (invariant 1), however long the process was frozen
 * between any two lines here. `asClient` needs no leader and is safe by row locks, compare-and-set and
 * constraints alone; it takes no lease away from anyone.
 *
 * Nothing is answered as done before its COMMIT was (invariant 4). A COMMIT without an answer is an unknown
 * outcome: it reaches the caller as database_unavailable, and is settled by idempotency (key, poll_id,
 * fence), never by guessing.
 */
export interface Doors {
  asLeader<T>(term: FencedTerm, fn: (tx: Queryable) => Promise<T>): Promise<T>
  asClient<T>(fn: (tx: Queryable) => Promise<T>): Promise<T>
}

/** What a writing transaction must know of a term. */
export interface FencedTerm {
  readonly number: number
  readonly replicaId: string
  /** Called when the database says that the term is over. */
  lose(reason: 'fenced'): void
}

const maxTries = 3
const begin = 'BEGIN ISOLATION LEVEL READ COMMITTED'

/** Each door has a pool of its own, so that no rush of clients keeps executors waiting. */
export function createDoors(pools: { leader: pg.Pool; client: pg.Pool }): Doors {
  return {
    asClient: (fn) => retrying(() => transact(pools.client, `${begin}; ${clientDoor}`, fn)),
    asLeader: async (term, fn) => {
      try {
        return await retrying(() => transact(pools.leader, `${begin}; ${fence(term)}`, fn))
      } catch (error) {
        if (sqlState(error) !== termOver) throw error
        term.lose('fenced')
        throw new AppError('controller_standby', 'another replica leads', { cause: error })
      }
    },
  }
}

const clientDoor = "SET LOCAL understudy.door = 'client'"

/** Inlined, since the simple protocol takes no parameters: both values are checked to be literals. */
function fence({ number, replicaId }: FencedTerm): string {
  if (!Number.isSafeInteger(number) || !/^[0-9a-f-]{36}$/.test(replicaId)) {
    throw new TypeError('a term is a whole number and a replica id a UUID')
  }
  return `SELECT fence_term(${number}, '${replicaId}')`
}

async function retrying<T>(run: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await run()
    } catch (error) {
      if (!isRetryable(error) || tried === maxTries) throw asUnavailable(error)
      await sleep(Math.random() * 10 * 2 ** tried)
    }
  }
}

async function transact<T>(
  pool: pg.Pool,
  opening: string,
  fn: (tx: Queryable) => Promise<T>,
): Promise<T> {
  const client = await pool.connect()
  let committing = false
  let inStep = false
  try {
    await client.query(opening)
    const result = await fn(client)
    committing = true
    const { command } = await client.query('COMMIT')
    // An aborted transaction answers COMMIT with ROLLBACK, and no error.
    if (command !== 'COMMIT') throw new Error(`the transaction ended with ${command}, not COMMIT`)
    inStep = true
    return result
  } catch (error) {
    inStep = !committing && isInStep(error) && (await rollBack(client))
    throw error
  } finally {
    release(client, inStep)
  }
}

/** False where ROLLBACK itself failed: then nobody knows what the session is in. */
async function rollBack(client: pg.PoolClient): Promise<boolean> {
  try {
    await client.query('ROLLBACK')
    return true
  } catch {
    return false
  }
}
