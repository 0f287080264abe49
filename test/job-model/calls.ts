/** What is asked of the system, with everything spelt out: the real one is called with it, and the model judges it. */

export interface StageSpec {
  name: string
  manual: boolean
}

export interface Lease {
  job: string
  executor: string
  epoch: number
  fence: number
}

export type Outcome = 'succeeded' | 'failed' | 'cancelled' | 'released'
export type OnDoubt = 'retry' | 'reconcile' | 'hold'

export const sweepNames = [
  'expire_leases',
  'end_unanswered_cancels',
  'enforce_run_timeouts',
  'wake_due_jobs',
  'expire_transitions',
] as const
export type SweepName = (typeof sweepNames)[number]

/** What the active replica alone does. */
export type LeaderCall =
  | { do: 'register'; executor: string }
  | { do: 'deregister'; executor: string; epoch: number; by: 'executor' | 'operator' }
  | { do: 'poll'; executor: string; epoch: number; max: number; pollId: string }
  | { do: 'heartbeat'; executor: string; epoch: number; listed: Lease[] }
  | { do: 'report'; lease: Lease; outcome: Outcome; retryable: boolean }
  | { do: 'begin'; lease: Lease; key: string; beginId: string; onDoubt: OnDoubt }
  | {
      do: 'settle'
      lease: Lease
      key: string
      beginId: string
      as: 'committed' | 'aborted'
    }
  | { do: 'critical'; lease: Lease; enter: boolean; ceilingMin: number }
  | { do: 'sweep'; name: SweepName }

/** What any replica does. */
export type ClientCall =
  | {
      do: 'submit'
      key: string | null
      maxAttempts: number
      delayMin: number
      timeoutMin: number | null
      stages: StageSpec[]
    }
  | { do: 'cancel'; job: string }
  | { do: 'retry'; job: string }
  | { do: 'resolve'; job: string; key: string; as: 'committed' | 'aborted' }
  | {
      do: 'transition'
      job: string
      from: string
      move: number | null
      to: string
      key: string | null
    }
  | { do: 'own'; job: string; from: string; owner: string; boot: string; ceilingMin: number }
  | { do: 'commit'; job: string; token: string; to: string }
  /** Without a token: by force. */
  | { do: 'abandon'; job: string; token: string | null }

/** What happens to all of it. `isServed`: the active ticks at the end of that time, and so was there. */
export type Event = { do: 'pass'; min: number; isServed: boolean } | { do: 'promote' }

export type Call = (LeaderCall & { term: number }) | (ClientCall & { replica: 0 | 1 }) | Event

/** What was answered: something, or the code of a refusal. */
export type Answer = { ok: Record<string, unknown> } | { refused: string }

export function isRefused(answer: Answer): answer is { refused: string } {
  return 'refused' in answer
}

/** Nobody knows whether it was done. */
export function isUnanswered(answer: Answer): boolean {
  return isRefused(answer) && answer.refused === 'database_unavailable'
}
