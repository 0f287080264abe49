import type { Log } from '../log.ts'
import { cancelJobs } from '../services/cancels.ts'
import { listUnfinishedCancels } from '../sql/cancels.ts'
import type { Doors } from '../sql/doors.ts'
import type { Queryable } from '../sql/pool.ts'
import { writePages } from './pages.ts'
import type { Phase } from './recover.ts'

/** Phase 4. A request and what follows from it are one write; but a leader of a build that knew no cancels sends a
 *  job back to the queue whose end was asked for. What it left is cancelled here (invariant 6). Requests that were not
 *  answered yet are told again by heartbeats. */
export function finishCancelsPhase(db: Queryable, doors: Doors, log: Log): Phase {
  return {
    name: 'finish_cancels',
    run: async (term) => {
      let cancelled = 0
      const list = (after: string, limit: number) => listUnfinishedCancels(db, after, limit)
      const spared = await writePages(log, list, async (ids) => {
        const rows = await doors.asLeader(term, (tx) => cancelJobs(tx, ids, null))
        cancelled += rows.length
      })
      return { cancelled, ...spared }
    },
  }
}
