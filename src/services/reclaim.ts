import { endByLoss, type LeaseEnd, type LockedJob, type Loss } from '../domain/lease.ts'
import type { Term } from '../leader/term.ts'
import type { Log } from '../log.ts'
import type { Doors } from '../sql/doors.ts'
import { endLeasesIfFenced } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import { type Spared, writeSparingBadRows } from './bad-rows.ts'
import type { LeaseEnds } from './lease-ends.ts'

export interface ReclaimOptions {
  doors: Doors
  leaseEnds: LeaseEnds
  log: Log
  lostLeaseBudget: number
}

/** Takes back the leases of these jobs, of those that `lock` still finds due: their executors are gone. */
export async function reclaim(
  { lostLeaseBudget, ...o }: ReclaimOptions,
  term: Term,
  ids: string[],
  lock: (tx: Queryable, ids: string[]) => Promise<LockedJob[]>,
  lossOf: (job: LockedJob) => Loss,
): Promise<Spared & { reclaimed: number }> {
  const endOf = (job: LockedJob) => endByLoss(job, lostLeaseBudget, lossOf(job))
  const { ended, ...spared } = await endDue(o, term, ids, lock, endOf)
  return { reclaimed: ended, ...spared }
}

export type EndDueOptions = Pick<ReclaimOptions, 'doors' | 'leaseEnds' | 'log'>

/** Ends the leases of these jobs, of those that `lock` still finds due. */
export async function endDue(
  { doors, leaseEnds, log }: EndDueOptions,
  term: Term,
  ids: string[],
  lock: (tx: Queryable, ids: string[]) => Promise<LockedJob[]>,
  endOf: (job: LockedJob) => LeaseEnd,
): Promise<Spared & { ended: number }> {
  let ended = 0
  const spared = await writeSparingBadRows(ids, log, async (ids) => {
    const ends = await doors.asLeader(term, async (tx) => {
      const jobs = await lock(tx, ids)
      const ends = jobs.map((job) => endOf(job))
      if (ends.length > 0) await endLeasesIfFenced(tx, ends)
      return ends
    })
    leaseEnds.announce(ends)
    ended += ends.length
  })
  return { ended, ...spared }
}
