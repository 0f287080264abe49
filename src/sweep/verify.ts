import type { Term } from '../leader/term.ts'
import type { Log } from '../log.ts'
import { verifyFence, verifyLeases } from '../services/verification.ts'
import type { Queryable } from '../sql/pool.ts'
import { violations } from '../sql/violations.ts'
import type { Sweep } from './scheduler.ts'

/** What is not there is counted as well: a counter that appears with the first violation would hide it. */
const none = Object.fromEntries(['unsound_fence', ...violations].map((name) => [name, 0]))

/** Looks, again and again, for what must never be; the first time an interval after the gate opened, when
 *  there is less to do. */
export function verify(db: Queryable, log: Log, intervalMs: number): Sweep {
  let seen: Term | undefined
  return {
    name: 'verify',
    intervalMs,
    runOnce: async (term) => {
      if (seen !== term) {
        seen = term
        return { counts: none }
      }
      const found = { ...(await verifyFence(db, log)), ...(await verifyLeases(db, log)) }
      return { counts: { ...none, ...found } }
    },
  }
}
