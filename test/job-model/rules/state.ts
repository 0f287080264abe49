import type { Answer, Lease, OnDoubt, Outcome, StageSpec } from '../calls.ts'

/** What the model knows. Nothing under rules/ imports anything of src/: it says again, in its own words, what DESIGN 6
 *  promises. Time is in minutes, and passes only by the call `pass`. */

export const limits = {
  leaseTtl: 5,
  cancelGrace: 3,
  runTimeoutGrace: 4,
  /** An offer is lost once two heartbeats so far apart have not listed it. */
  beatsApart: 1,
  lostLeaseBudget: 2,
} as const

export type JobState = 'available' | 'leased' | 'waiting' | 'succeeded' | 'failed' | 'cancelled'
export type Ending = Outcome | 'lost' | 'undelivered'

export interface Holder extends Lease {
  pollId: string
  /** Among all claims, in their order. */
  place: number
  expiresAt: number
  since: number
  attempt: number
  /** By the database: nobody has shown that they hold it. */
  isOffered: boolean
  /** In the leader's memory: the time of the heartbeat that first did not list it; null: none yet. */
  offer: { missedAt: number | null } | null
  /** A heartbeat has found it lost, and has yet to give it back. */
  isGoingBack: boolean
  critical: { since: number; ceiling: number } | null
}

export interface Attempt extends Lease {
  attempt: number
  ending: Ending
  stage: string | null
}

/** Who asked, and with which fence. */
export interface Asker {
  beginId: string
  fence: number
}

export interface Effect {
  state: 'begun' | 'committed' | 'aborted' | 'in_doubt'
  onDoubt: OnDoubt
  token: string
  begun: Asker
  /** Who was told that it is in doubt. */
  told: Asker | null
  settledBy: Asker | null
  /** The job waits for an operator. */
  holds: boolean
}

export interface Transition {
  token: string
  owner: string
  boot: string
  stage: string
  expiresAt: number
  outcome: 'committed' | 'abandoned' | 'taken_over' | 'forced' | 'expired' | null
  committedMove: number | null
}

export interface Move {
  move: number
  from: string
  to: string
  by: 'report' | 'transition' | 'commit'
  key: string | null
  /** What was asked for under that key. */
  body: string | null
}

export interface Stage extends StageSpec {
  isDone: boolean
}

export interface Job {
  id: string
  state: JobState
  isScheduled: boolean
  runAt: number
  fence: number
  attempt: number
  maxAttempts: number
  lostLeases: number
  timeout: number | null
  holder: Holder | null
  isCancelRequested: boolean
  cancelToldAt: number | null
  stages: Stage[]
  stage: string | null
  move: number
  waitingFor: 'effect' | 'decision' | 'transition' | null
  key: string | null
  /** What was submitted under that key. */
  body: string
  retryOf: string | null
  retriedAs: string | null
  attempts: Attempt[]
  effects: Record<string, Effect>
  transitions: Transition[]
  moves: Move[]
  /** Reports that were rejected, of those who once held it. */
  late: string[]
}

export interface State {
  now: number
  term: number
  /** Nothing is taken away before; null: the gate has not opened. */
  floor: number | null
  servedAt: number | null
  /** +1 when one registers or leaves; `leftAs`: the epoch under which it last left. */
  executors: Record<string, { epoch: number; leftAs: number | null }>
  /** In the leader's memory: the poll that last brought an executor work. */
  lastPolls: Record<string, string>
  claims: number
  jobs: Record<string, Job>
}

/** One way in which it may go on, and what is answered then. */
export interface Course {
  state: State
  answer: Answer
}

export const startingState: State = {
  now: 0,
  term: 0,
  floor: null,
  servedAt: null,
  executors: {},
  lastPolls: {},
  claims: 0,
  jobs: {},
}

export const ok = (given: Record<string, unknown> = {}): Answer => ({ ok: given })
export const refuse = (code: string): Answer => ({ refused: code })

export function isFinal({ state }: Job): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'cancelled'
}

/** When deadlines begin to count at the earliest: time without an active replica counts for nobody. */
export function openedAt({ floor }: State): number | null {
  return floor === null ? null : floor - limits.leaseTtl
}

/** Whether anything may be taken away by now. */
export function isPastFloor({ floor, now }: State): boolean {
  return floor !== null && floor <= now
}

/** The lease by which somebody acts, if it is the current one. */
export function heldBy(state: State, lease: Lease): { job: Job; holder: Holder } | undefined {
  const job = state.jobs[lease.job]
  const { holder } = job ?? {}
  if (!job || !holder) return undefined
  const isTheirs =
    holder.fence === lease.fence &&
    holder.executor === lease.executor &&
    holder.epoch === lease.epoch
  return isTheirs ? { job, holder } : undefined
}

/** Whether they held it once. */
export function wasHeldBy(job: Job, lease: Lease): boolean {
  return job.attempts.some(
    ({ fence, executor, epoch }) =>
      fence === lease.fence && executor === lease.executor && epoch === lease.epoch,
  )
}

/** A section puts a cancel off up to its ceiling, unless its holder was told of the cancel before. */
export function isInSection(state: State, job: Job): boolean {
  const section = job.holder?.critical
  if (!section || job.cancelToldAt !== null) return false
  const opened = openedAt(state)
  return opened === null || state.now < Math.max(section.since, opened) + section.ceiling
}

export function isCancelInForce(state: State, job: Job): boolean {
  return job.isCancelRequested && !isInSection(state, job)
}
