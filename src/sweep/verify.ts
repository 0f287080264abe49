import type { Log } from '../log.ts'
import { verify } from '../services/verification.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Sweep } from './scheduler.ts'

/** What recovery verified once is verified again and again. */
export function verifyAgain(db: Queryable, log: Log): Sweep {
  return {
    name: 'verify',
    intervalMs: 60_000,
    runOnce: async () => ({ counts: await verify(db, log) }),
  }
}
