import type { CancelRequest, Critical, CriticalAnswer } from '../contract/cancels.ts'
import type { Job } from '../contract/jobs.ts'
import { AppError } from '../errors.ts'
import type { Gate } from '../leader/gate.ts'
import {
  type CancelledRow,
  cancelJobsIfOpen,
  enterCriticalIfHeld,
  getSection,
  leaveCriticalIfHeld,
} from '../sql/cancels.ts'
import type { Doors } from '../sql/doors.ts'
import { letGoOfHolds } from '../sql/effects.ts'
import type { Queryable } from '../sql/pool.ts'
import type { BulkAct } from './bulk.ts'
import type { ExecutorActs } from './executor-acts.ts'
import type { JobWaits } from './job-waits.ts'
import type { Jobs, Reader } from './jobs.ts'
import { beingCancelled, judgeHolder, knownJobId } from './lease-calls.ts'
import type { Offers } from './offers.ts'
import { requireServing } from './serving.ts'

export interface CancelsOptions {
  acts: ExecutorActs
  doors: Doors
  gate: Gate
  jobs: Jobs
  offers: Offers
  waits: JobWaits
  leaseTtlMs: number
}

const defaultCeilingMs = 300_000
const open = ['available', 'leased', 'waiting'] as const

/** Cancels (invariant 6): a request is a durable column of the job, which every statement that moves the job heeds.
 *  What nobody holds is cancelled at once; a holder is told on every heartbeat until it answers, or until its grace
 *  has passed. Only a critical section puts that off, and only up to its ceiling. */
export class Cancels {
  readonly #o: CancelsOptions

  constructor(options: CancelsOptions) {
    this.#o = options
  }

  /** Asked again it is answered the same. Throws not_found, and already_final for a job that ended otherwise. */
  async cancel(id: string, reader: Reader, { reason }: CancelRequest): Promise<Job> {
    const { doors, jobs, waits } = this.#o
    await jobs.get(id, reader)
    const rows = await doors.asClient((tx) => cancelJobs(tx, [id], reason ?? null))
    waits.settled(cancelledOf(rows))
    const job = await jobs.get(id, reader)
    if (rows.length === 0 && job.state !== 'cancelled') {
      throw new AppError('already_final', `job ${id} has ${job.state}`)
    }
    return job
  }

  /** For the jobs of a filter: those that are final by now are passed over. */
  readonly inBulk: BulkAct = {
    states: open,
    statesByDefault: open,
    skipsCancelled: true,
    act: async (tx, ids, reason) => {
      const rows = await cancelJobs(tx, ids, reason ?? null)
      return { changed: rows.length, announce: () => this.#o.waits.settled(cancelledOf(rows)) }
    },
  }

  /** The same again is answered as the first. Throws not_found, stale_epoch and stale_fence, and cancel_requested
   *  where a section is not to begin any more. */
  async critical(id: string, body: Critical): Promise<CriticalAnswer> {
    const term = requireServing(this.#o.gate)
    const lease = { ...body, job_id: knownJobId(id) }
    const { enter, ceiling_ms = defaultCeilingMs } = body
    return await this.#o.acts.run(term, async (tx) => {
      const judge = { term: term.number, leaseTtlMs: this.#o.leaseTtlMs }
      const { refusal } = await judgeHolder(tx, lease, judge, this.#o.offers)
      if (refusal) throw refusal
      if (enter) await enterCriticalIfHeld(tx, lease, judge, ceiling_ms)
      else await leaveCriticalIfHeld(tx, lease)
      const section = await getSection(tx, judge, lease.job_id)
      if (enter && section.is_in_force) throw beingCancelled()
      const { critical_until, is_in_force, cancel_reason } = section
      return { critical_until, cancel: is_in_force ? { reason: cancel_reason ?? '' } : null }
    })
  }
}

/** What nobody holds is cancelled, and what is held is to be told. */
export async function cancelJobs(
  tx: Queryable,
  ids: string[],
  reason: string | null,
): Promise<CancelledRow[]> {
  const rows = await cancelJobsIfOpen(tx, ids, reason)
  // By itself: what was written while the rows were waited for is not in the snapshot of the statement before.
  if (rows.length > 0) await letGoOfHolds(tx, cancelledOf(rows))
  return rows
}

function cancelledOf(rows: CancelledRow[]): string[] {
  return rows.filter(({ state }) => state === 'cancelled').map(({ id }) => id)
}
