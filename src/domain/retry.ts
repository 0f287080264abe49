import { isFinal, type JobState } from './job.ts'

/** What a retry needs to know of a job. */
export interface Retriable {
  state: JobState
  /** The job that it was retried as. */
  retried_as: string | null
}

export type RetryVerdict =
  | { outcome: 'retry' }
  | { outcome: 'replayed'; as: string }
  | { outcome: 'job_not_final' | 'not_retryable' }

/** A final job never lives again (invariant 3): what did not succeed is retried as a new job, once. */
export function judgeRetry({ state, retried_as }: Retriable): RetryVerdict {
  if (retried_as !== null) return { outcome: 'replayed', as: retried_as }
  if (!isFinal(state)) return { outcome: 'job_not_final' }
  return { outcome: state === 'succeeded' ? 'not_retryable' : 'retry' }
}
