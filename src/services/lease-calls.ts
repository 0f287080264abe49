import type { LockedJob } from '../domain/lease.ts'
import { AppError } from '../errors.ts'
import { getSection, type Judge } from '../sql/cancels.ts'
import { findEpochs } from '../sql/executors.ts'
import { extendLeasesIfHeld, type HeldLease, lockJobs } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import { isJobId } from './json.ts'
import type { Offers } from './offers.ts'

/** How a call in the name of a lease stands. */
export type Standing =
  /** Why it is not the caller's. */
  | { refusal: AppError }
  /** The job, locked, and whether it is being cancelled: not while a critical section puts that off. */
  | { refusal?: undefined; job: LockedJob; isCancelled: boolean }

/** Locks the job, judges the caller by the current (executor, epoch, fence), and renews its lease (invariant 2). */
export async function judgeHolder(
  tx: Queryable,
  lease: HeldLease,
  judge: Judge,
  offers: Offers,
): Promise<Standing> {
  const { job_id, executor_id, epoch, fence } = lease
  const [job] = await lockJobs(tx, [job_id])
  if (!job) return { refusal: noJob(job_id) }
  const epochs = await findEpochs(tx, [executor_id])
  if (epochs.get(executor_id) !== epoch) {
    const detail = `epoch ${epoch} of ${executor_id} is not current`
    return { refusal: new AppError('stale_epoch', detail) }
  }
  const [held] = await extendLeasesIfHeld(tx, [lease], judge.leaseTtlMs)
  if (!held) {
    const detail = `${executor_id} does not hold the job with fence ${fence}`
    return { refusal: new AppError('stale_fence', detail) }
  }
  offers.show(executor_id, [lease])
  const isCancelled = held.is_cancelled && (await getSection(tx, judge, job_id)).is_in_force
  return { job, isCancelled }
}

/** To whoever would begin something more. */
export function beingCancelled(): AppError {
  return new AppError('cancel_requested', 'the job is being cancelled: begin nothing more')
}

/** The id of a job as the database has it. Throws not_found for what cannot be one. */
export function knownJobId(id: string): string {
  if (!isJobId(id)) throw noJob(id)
  return id.toLowerCase()
}

export function noJob(id: string): AppError {
  return new AppError('not_found', `there is no job ${id}`)
}
