import { z } from 'zod'
import { Json } from './common.ts'
import { JobId, JobState } from './jobs.ts'

/** Why a job is where it is. The codes are stable; what each means: docs/explain.md has the same table. */
export const reasonMeanings = {
  no_active_replica: 'no replica serves executors now, so nothing is given out or heard',
  no_executor_for_queue: 'no executor that is heard serves the queue',
  no_executor_with_labels:
    'none of those that serve the queue and are heard has the labels required',
  executors_full: 'executors could run it and hold as many jobs as they take',
  executors_draining: 'executors could run it and take no new work',
  executors_faulty: 'executors could run it and get no work until an operator clears them',
  executors_degraded: 'executors could run it, get one job at a time, and hold one',
  executors_silent: 'executors could run it and are not heard',
  waiting_its_turn: 'it can be claimed; others of its class are first, or nobody has asked yet',
  scheduled: 'it is not to run before an instant that was asked for',
  backing_off: 'its last attempt failed, and the next one is to come later',
  effect_in_doubt: 'an effect may have been done, and an operator must say whether it was',
  waiting_for_decision: 'its stage is manual: it waits for somebody who decides',
  transition_owned: 'an outside actor owns its next move, and has not made it yet',
  running: 'an executor holds it',
  offer_on_its_way: 'it was given to an executor that has not shown yet that it holds it',
  cancel_requested: 'its end was asked for, and has not come yet',
  cancel_deferred: 'a cancel waits for the end of a critical section, or for the owner of a move',
  executor_silent: 'the executor that holds it is not heard',
  past_run_timeout: 'it runs longer than it may, and its executor has not stopped it',
  succeeded: 'it is done',
  failed: 'it failed for good',
  cancelled: 'it was cancelled',
  unexplained: 'none of the above: a fault of ours, please report it',
} as const
export type ReasonCode = keyof typeof reasonMeanings

const codes = Object.keys(reasonMeanings) as [ReasonCode, ...ReasonCode[]]

/** One reason. Instants among the facts are ISO 8601, durations in milliseconds; null: not known yet. */
export const Reason = z
  .object({
    code: z.enum(codes).meta({ description: 'Stable; see docs/explain.md.' }),
    detail: z.string().meta({ description: 'For people.' }),
    facts: z.record(z.string(), Json).meta({ description: 'For programs; docs/explain.md.' }),
  })
  .meta({ id: 'Reason' })
export type Reason = z.infer<typeof Reason>

export const Explanation = z
  .object({
    job_id: JobId,
    state: JobState,
    reasons: z.array(Reason).meta({ description: 'At least one, the most telling first.' }),
  })
  .meta({ id: 'Explanation' })
export type Explanation = z.infer<typeof Explanation>
