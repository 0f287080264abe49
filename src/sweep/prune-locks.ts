import type { Doors } from '../sql/doors.ts'
import { hasAbandonedLocks, pruneAbandonedLocks } from '../sql/locks.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Sweep } from './scheduler.ts'

const batch = 500
const intervalMs = 60_000

/** Forgets the names of locks that nobody has had for a day: whoever makes up a name for each deploy would fill the
 *  table. */
export function pruneLocks(db: Queryable, doors: Doors): Sweep {
  return {
    name: 'prune_locks',
    intervalMs,
    runOnce: async (term) => {
      if (!(await hasAbandonedLocks(db))) return { counts: { pruned: 0 } }
      const pruned = await doors.asLeader(term, (tx) => pruneAbandonedLocks(tx, batch))
      return pruned < batch ? { counts: { pruned } } : { counts: { pruned }, pauseMs: 0 }
    },
  }
}
