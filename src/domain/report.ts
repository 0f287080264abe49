import { isFinal } from './job.ts'
import type { LockedJob, Outcome } from './lease.ts'

/** Who reports, and for which assignment. */
export interface Claimed {
  executorId: string
  epoch: number
  fence: number
  outcome: Outcome
}

/** How the lease with this fence ended, if it has. */
export interface Ended {
  executor_id: string
  epoch: number
  outcome: Outcome
}

export type Verdict =
  | { status: 'accepted' }
  | { status: 'duplicate' }
  | { status: 'rejected'; reason: 'not_found' | 'stale_epoch' | 'already_final' | 'stale_fence' }

/** The answer to one reported item, in the order of DESIGN 6. Invariants 2 and 3: only the current
 *  (executor, epoch, fence) counts, and a final state never changes. */
export function judgeReport(
  job: LockedJob | undefined,
  claimed: Claimed,
  currentEpoch: number | undefined,
  ended: Ended | undefined,
): Verdict {
  if (!job) return { status: 'rejected', reason: 'not_found' }
  if (claimed.epoch !== currentEpoch) return { status: 'rejected', reason: 'stale_epoch' }
  if (
    ended?.executor_id === claimed.executorId &&
    ended.epoch === claimed.epoch &&
    ended.outcome === claimed.outcome
  ) {
    return { status: 'duplicate' }
  }
  if (isFinal(job.state)) return { status: 'rejected', reason: 'already_final' }
  const isOwner =
    job.state === 'leased' &&
    job.executor_id === claimed.executorId &&
    job.epoch === claimed.epoch &&
    job.fence === claimed.fence
  return isOwner ? { status: 'accepted' } : { status: 'rejected', reason: 'stale_fence' }
}
