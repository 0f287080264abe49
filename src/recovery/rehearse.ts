import type pg from 'pg'
import type { Log } from '../log.ts'
import { checkSchema, type Migration } from '../sql/migrate.ts'
import { release } from '../sql/pool.ts'

/** While it waits for the lock, a standby keeps open the sessions that it will lead with, and goes through the
 *  beginning of recovery on each new one: with all clients at its door at once, opening them takes longer than
 *  recovery itself. Whatever comes of it, recovery looks again. */
export async function rehearse(pool: pg.Pool, migrations: Migration[], log: Log): Promise<void> {
  const { max } = pool.options
  if (pool.totalCount === max) return
  // Asked for all at once: one alone would be given what is open.
  const looks = Array.from({ length: max }, () => look(pool, migrations))
  for (const done of await Promise.allSettled(looks)) {
    if (done.status === 'rejected') log.debug({ err: done.reason }, 'the rehearsal failed')
  }
}

async function look(pool: pg.Pool, migrations: Migration[]): Promise<void> {
  const client = await pool.connect()
  let inStep = false
  try {
    await checkSchema(client, migrations)
    inStep = true
  } finally {
    release(client, inStep)
  }
}
