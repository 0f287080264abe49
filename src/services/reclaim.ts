import type { LeaseEnd, LockedJob } from '../domain/lease.ts'
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
}

/** Takes back the leases of these jobs, of those that `lock` still finds due. */
export async function reclaim(
  { doors, leaseEnds, log }: ReclaimOptions,
  term: Term,
  ids: string[],
  lock: (tx: Queryable, ids: string[]) => Promise<LockedJob[]>,
  endOf: (job: LockedJob) => LeaseEnd,
): Promise<Spared & { reclaimed: number }> {
  let reclaimed = 0
  const spared = await writeSparingBadRows(ids, log, async (ids) => {
    const ends = await doors.asLeader(term, async (tx) => {
      const jobs = await lock(tx, ids)
      const ends = jobs.map(endOf)
      if (ends.length > 0) await endLeasesIfFenced(tx, ends)
      return ends
    })
    leaseEnds.announce(ends)
    reclaimed += ends.length
  })
  return { reclaimed, ...spared }
}
