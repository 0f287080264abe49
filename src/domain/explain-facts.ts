import type { ExecutorState, Standing } from './executor-health.ts'
import type { JobState } from './job.ts'
import type { Failure } from './lease.ts'
import type { Asked, Offered } from './matching.ts'
import type { WaitingFor } from './stage.ts'

/** What explaining a job rests on. Instants are as Postgres judged them: nothing here asks a clock (invariant 8). */

export interface Reason {
  /** One of the contract's table; the service that hands it out is checked against that. */
  code:
    | 'no_active_replica'
    | 'no_executor_for_queue'
    | 'no_executor_with_labels'
    | 'executors_full'
    | 'executors_draining'
    | 'executors_faulty'
    | 'executors_degraded'
    | 'executors_silent'
    | 'waiting_its_turn'
    | 'scheduled'
    | 'backing_off'
    | 'effect_in_doubt'
    | 'waiting_for_decision'
    | 'transition_owned'
    | 'running'
    | 'offer_on_its_way'
    | 'cancel_requested'
    | 'cancel_deferred'
    | 'executor_silent'
    | 'past_run_timeout'
    | 'succeeded'
    | 'failed'
    | 'cancelled'
    | 'unexplained'
  detail: string
  facts: Record<string, unknown>
}

export type Rule = (snapshot: Snapshot) => Reason | undefined

export interface Snapshot {
  job: ExplainedJob
  leader: Leader
  /** Where it is leased. */
  lease: Lease | null
  /** Where it can be claimed. */
  queue: Queue | null
  /** To whoever asks. */
  mayNameExecutors: boolean
}

export interface ExplainedJob extends Asked {
  state: JobState
  scheduled: boolean
  runAt: string
  /** `runAt` has passed. */
  isDue: boolean
  attempt: number
  maxAttempts: number
  lostLeases: number
  /** How its latest lease ended that has ended, and why it did not succeed. */
  lastOutcome: string | null
  error: Failure | null
  cancelRequestedAt: string | null
  cancelReason: string | null
  /** null: it has no stages. */
  stage: string | null
  move: number
  /** null unless it waits. */
  waitingFor: WaitingFor | null
  /** Who owns its next move. */
  transition: OwnedMove | null
  /** Keys of the effects that an operator must resolve. */
  heldBy: string[]
  retriedAs: string | null
  finishedAt: string | null
}

export interface OwnedMove {
  owner: string
  bootId: string
  begunAt: string
  /** When others may end it at the earliest, the term's deadline floor heeded. */
  endsAt: string | null
}

export interface Leader {
  /** A replica leads, and serves executors. */
  isActive: boolean
  isLed: boolean
  term: number
  name: string | null
  servedAt: string | null
}

export interface Lease {
  executorId: string
  executorState: ExecutorState
  fence: number
  since: string
  expiresAt: string
  isOffered: boolean
  heartbeatAt: string
  /** As the sweep of executors counts it: not while nobody could be heard. */
  silentMs: number
  /** Three beats. */
  suspectMs: number
  /** When it is taken back at the earliest, the term's deadline floor heeded. */
  reclaimAt: string | null
  cancelToldAt: string | null
  /** When it is taken back at the earliest if a cancel that was told stays unanswered. */
  cancelEndsAt: string | null
  /** A critical section that a cancel waits for ends here at the latest. */
  criticalUntil: string | null
  runTimeoutMs: number | null
  isPastRunTimeout: boolean
  /** When it is taken back at the earliest for its run timeout. */
  runEndsAt: string | null
}

/** An executor that may match, and how it is. */
export interface Candidate extends Offered {
  executorId: string
  state: ExecutorState
  standing: Standing
  capacity: number
  leases: number
  heartbeatAt: string
}

export interface Queue {
  candidates: readonly Candidate[]
  /** How many claimable jobs of its class come first: none counted beyond `mostBefore`. */
  before: number
}

/** Beyond this many, jobs before another are not counted. */
export const mostBefore = 1_000
