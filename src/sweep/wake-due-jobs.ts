import type { Term } from '../leader/term.ts'
import type { Log } from '../log.ts'
import type { Nudge } from '../nudge.ts'
import { writeSparingBadRows } from '../services/bad-rows.ts'
import type { Polls } from '../services/polls.ts'
import { beforeAllDue, listDueJobs, probeDueJobs, wakeDueJobs } from '../sql/claims.ts'
import type { Doors } from '../sql/doors.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Sweep } from './scheduler.ts'

export interface WakeDueOptions {
  db: Queryable
  doors: Doors
  polls: Polls
  nudge: Nudge
  log: Log
}

const batch = 500
const intervalMs = 1_000
const busyMs = 50

/** Lets jobs whose time has come into the claim index, and sleeps until the next one is due. */
export function wakeDue(o: WakeDueOptions): Sweep {
  // Where the next pass goes on: rows that cannot be written must not be all that it ever finds.
  let after = beforeAllDue
  return {
    name: 'wake_due_jobs',
    intervalMs,
    nudge: o.nudge,
    runOnce: async (term) => {
      const dueMs = await probeDueJobs(o.db)
      if (dueMs === null) return { counts: { woken: 0 } }
      if (dueMs > 0) return { counts: { woken: 0 }, pauseMs: Math.min(dueMs, intervalMs) }
      const due = await listDueJobs(o.db, after, batch)
      const { tried, ...counts } = await wake(
        o,
        term,
        due.map(({ id }) => id),
      )
      const isLast = tried === due.length && due.length < batch
      after = isLast ? beforeAllDue : (due[tried - 1] ?? after)
      if (counts.woken > 0 || !isLast) return { counts, pauseMs: 0 }
      // One that is due and was not woken is locked by somebody: at once would be for ever.
      return counts.bad_rows > 0 ? { counts } : { counts, pauseMs: busyMs }
    },
  }
}

async function wake({ doors, polls, log }: WakeDueOptions, term: Term, ids: string[]) {
  let woken = 0
  const spared = await writeSparingBadRows(ids, log, async (ids) => {
    const classIds = await doors.asLeader(term, (tx) => wakeDueJobs(tx, ids))
    polls.markReady(new Set(classIds))
    woken += classIds.length
  })
  return { woken, ...spared }
}
