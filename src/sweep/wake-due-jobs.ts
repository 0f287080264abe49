import type { Nudge } from '../nudge.ts'
import type { Polls } from '../services/polls.ts'
import { probeDueJobs, wakeDueJobs } from '../sql/claims.ts'
import type { Doors } from '../sql/doors.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Sweep } from './scheduler.ts'

const batch = 500
const intervalMs = 1_000
const busyMs = 50

/** Lets jobs whose time has come into the claim index, and sleeps until the next one is due. */
export function wakeDue(db: Queryable, doors: Doors, polls: Polls, nudge: Nudge): Sweep {
  return {
    name: 'wake_due_jobs',
    intervalMs,
    nudge,
    runOnce: async (term) => {
      const dueMs = await probeDueJobs(db)
      if (dueMs === null) return { counts: { woken: 0 } }
      if (dueMs > 0) return { counts: { woken: 0 }, pauseMs: Math.min(dueMs, intervalMs) }
      const classIds = await doors.asLeader(term, (tx) => wakeDueJobs(tx, batch))
      polls.markReady(new Set(classIds))
      // One that is due and was not woken is locked by somebody: at once would be for ever.
      return { counts: { woken: classIds.length }, pauseMs: classIds.length > 0 ? 0 : busyMs }
    },
  }
}
