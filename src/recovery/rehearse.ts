import type pg from 'pg'
import type { Log } from '../log.ts'
import { checkSchema, type Migration } from '../sql/migrate.ts'

/** While it waits for the lock, a standby opens the sessions that it will lead with, and goes through the beginning
 *  of recovery on each: with all clients at its door at once, opening them takes longer than recovery itself.
 *  Whatever comes of it, recovery looks again. */
export async function rehearse(pool: pg.Pool, migrations: Migration[], log: Log): Promise<void> {
  const clients = Array.from({ length: pool.options.max }, () => pool.connect())
  const looks = clients.map(async (opening) => {
    const client = await opening
    try {
      await checkSchema(client, migrations)
    } finally {
      client.release()
    }
  })
  for (const look of await Promise.allSettled(looks)) {
    if (look.status === 'rejected') log.debug({ err: look.reason }, 'the rehearsal failed')
  }
}
