import type { Term } from '../leader/term.ts'
import type { Log } from '../log.ts'
import { writeSparingBadRows } from '../services/bad-rows.ts'
import type { Doors } from '../sql/doors.ts'
import type { PlacedRow } from '../sql/jobs.ts'
import { lockJobs } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import {
  beforeAllExpiries,
  expireTransitions,
  listExpiredTransitions,
  releaseFromTransition,
} from '../sql/transitions.ts'
import type { Sweep } from './scheduler.ts'

export interface ExpireTransitionsOptions {
  db: Queryable
  doors: Doors
  log: Log
  intervalMs: number
  onPlaced(rows: PlacedRow[]): void
  onExpired(transitions: number): void
}

const batch = 500

/** Ends transitions whose owners have let their ceiling pass: the claim is taken first, by compare-and-set, and only
 *  then is the job let go, so that an owner who is just committing is never raced. This is all that a failover can leave
 *  half-way of a move (DESIGN 5, phase 4): a report and its move, a commit and its move, are one transaction each. */
export function expireOldTransitions(o: ExpireTransitionsOptions): Sweep {
  // Where the next pass goes on: rows that cannot be written must not be all that it ever finds.
  let after = beforeAllExpiries
  return {
    name: 'expire_transitions',
    intervalMs: o.intervalMs,
    runOnce: async (term) => {
      const found = await listExpiredTransitions(o.db, after, batch)
      const { tried, ...counts } = await expire(
        o,
        term,
        found.map(({ job_id }) => job_id),
      )
      const isLast = tried === found.length && found.length < batch
      after = isLast ? beforeAllExpiries : (found[tried - 1] ?? after)
      return isLast ? { counts } : { counts, pauseMs: 0 }
    },
  }
}

async function expire(
  { doors, log, onPlaced, onExpired }: ExpireTransitionsOptions,
  term: Term,
  ids: string[],
) {
  let expired = 0
  const spared = await writeSparingBadRows(ids, log, async (ids) => {
    const released = await doors.asLeader(term, async (tx) => {
      await lockJobs(tx, ids)
      return await releaseFromTransition(tx, await expireTransitions(tx, ids))
    })
    onPlaced(released)
    onExpired(released.length)
    expired += released.length
  })
  return { expired, ...spared }
}
