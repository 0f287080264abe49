import { type DueLeases, listOf, lockOf } from './leases.ts'

/** Leases that have run past their timeout and the grace after it, whether or not their executors are heard.
 *  The term's deadline floor holds this deadline, too: an executor that has stopped the job in time, while nobody
 *  was active, gets the time to say so (invariant 7). A null floor holds everything. */
const overrun = (graceMs: string): DueLeases => ({
  from: 'jobs j',
  where: `j.state = 'leased'
    AND j.leased_at + (j.run_timeout_ms + ${graceMs}::bigint) * interval '1 millisecond'
      < statement_timestamp()
    AND (SELECT deadline_floor_at FROM terms WHERE term = $1) < statement_timestamp()`,
})

export const listOverrunLeases = listOf<[graceMs: number]>('list_overrun_leases', overrun('$5'))
export const lockOverrunLeases = lockOf<[graceMs: number]>('lock_overrun_leases', overrun('$3'))
