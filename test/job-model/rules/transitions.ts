import type { Answer } from '../calls.ts'
import { isRefused } from '../calls.ts'
import { endCancelled, place } from './clients.ts'
import type { Of } from './executors.ts'
import { positionOf } from './leases.ts'
import {
  isFinal,
  isPastFloor,
  type Job,
  ok,
  refuse,
  type Stage,
  type State,
  type Transition,
} from './state.ts'

/** Moves that outside actors make, at once or after they have owned them for a while. */

export function liveTransition(job: Job): Transition | undefined {
  return job.transitions.find(({ outcome }) => outcome === null)
}

function isExpired(state: State, { expiresAt }: Transition): boolean {
  return expiresAt <= state.now && isPastFloor(state)
}

function stageOf(job: Job, name: string): Stage | undefined {
  return job.stages.find((stage) => stage.name === name)
}

/** Whether `to` can be reached from there; who owns the move may reject from anywhere. */
function leads(job: Job, from: Stage, to: string, isOwned: boolean): boolean {
  if (to === 'succeeded') return from === job.stages.at(-1)
  if (to === 'failed') return from.manual || isOwned
  return to !== from.name && stageOf(job, to) !== undefined
}

/** Why it is not to be moved, most telling first. */
function refusalOf(job: Job, from: string, move: number | null): Answer | undefined {
  if (isFinal(job)) return refuse('job_final')
  if (job.stage !== from || (move !== null && move !== job.move)) return refuse('stage_mismatch')
  if (job.state === 'leased') return refuse('job_leased')
  if (job.waitingFor === 'effect') return refuse('effect_in_doubt')
  return undefined
}

function go(
  state: State,
  job: Job,
  from: Stage,
  to: string,
  { by, key, body }: { by: 'transition' | 'commit'; key: string | null; body: string | null },
): Answer {
  const target = stageOf(job, to)
  const here = positionOf(job, from.name)
  const there = target ? positionOf(job, to) : job.stages.length
  const isBack = there < here
  if (isBack) for (const stage of job.stages.slice(there)) stage.isDone = false
  if (from.manual && !isBack && to !== 'failed') from.isDone = true
  if (job.attempt > 0) job.runAt = Math.min(job.runAt, state.now)
  job.move += 1
  job.moves.push({ move: job.move, from: from.name, to, by, key, body })
  job.attempt = 0
  job.lostLeases = 0
  if (target) {
    place(state, job, target)
    if (job.isCancelRequested) endCancelled(job)
  } else {
    job.state = job.isCancelRequested && to === 'failed' ? 'cancelled' : (to as 'succeeded')
    job.waitingFor = null
    job.isScheduled = false
  }
  return ok({ move: job.move, to, isNew: true })
}

export function transition(state: State, call: Of<'transition'>): Answer {
  const { job: id, from: name, move, to, key } = call
  const job = state.jobs[id]
  if (!job) return refuse('not_found')
  const body = JSON.stringify({ name, move, to })
  const before = job.moves.find((made) => key !== null && made.key === key)
  if (before?.body === body) return ok({ move: before.move, to: before.to, isNew: false })
  if (before) return refuse('idempotency_mismatch')
  const from = stageOf(job, name)
  if (!from || !leads(job, from, to, false)) return refuse('invalid_request')
  const refusal = refusalOf(job, name, move) ?? clearTheWay(state, job, null)
  if (refusal) return refusal
  return go(state, job, from, to, { by: 'transition', key, body: key === null ? null : body })
}

/** Nobody owns the next move from here on, or the caller is refused. A cancel that has waited for its owner comes now. */
function clearTheWay(
  state: State,
  job: Job,
  by: { owner: string; boot: string } | null,
): Answer | undefined {
  const live = liveTransition(job)
  if (live) {
    const isTheirs = live.owner === by?.owner
    if (!isTheirs && !isExpired(state, live)) return refuse('transition_owned')
    letGo(state, job, live, isTheirs && live.boot !== by?.boot ? 'taken_over' : 'expired')
  }
  return job.isCancelRequested ? refuse('cancel_requested') : undefined
}

export function own(state: State, call: Of<'own'>, seen: Answer): Answer {
  const { job: id, from, owner, boot, ceilingMin } = call
  const job = state.jobs[id]
  if (!job) return refuse('not_found')
  if (!stageOf(job, from)) return refuse('invalid_request')
  const refusal = refusalOf(job, from, null)
  if (refusal) return refusal
  const isTheirs = (each: Transition) => each.owner === owner && each.boot === boot
  // A process that another of its owner came after is no owner any more.
  const wasDisplaced = job.transitions.some(
    (each) => isTheirs(each) && each.outcome === 'taken_over',
  )
  if (wasDisplaced) return refuse('stale_token')
  const live = liveTransition(job)
  if (live && isTheirs(live) && !isExpired(state, live)) return ok({ token: live.token })
  const isInTheWay = clearTheWay(state, job, { owner, boot })
  if (isInTheWay) return isInTheWay
  const token = isRefused(seen) ? 'a new one' : String(seen.ok.token)
  const expiresAt = state.now + ceilingMin
  const begun = { token, owner, boot, stage: from, expiresAt, outcome: null, committedMove: null }
  job.transitions.push(begun)
  job.state = 'waiting'
  job.waitingFor = 'transition'
  job.isScheduled = false
  return ok({ token })
}

export function commit(state: State, { job: id, token, to }: Of<'commit'>): Answer {
  const job = state.jobs[id]
  if (!job) return refuse('not_found')
  const owned = job.transitions.find((each) => each.token === token)
  if (!owned) return refuse('stale_token')
  const { committedMove } = owned
  if (committedMove !== null) {
    const made = job.moves.find(({ move }) => move === committedMove)
    return made?.to === to ? ok({ move: committedMove, to, isNew: false }) : refuse('stale_token')
  }
  const from = stageOf(job, owned.stage)
  if (!from || !leads(job, from, to, true)) return refuse('invalid_request')
  if (owned.outcome !== null) return refuse('stale_token')
  owned.outcome = 'committed'
  owned.committedMove = job.move + 1
  return go(state, job, from, to, { by: 'commit', key: null, body: null })
}

export function abandon(state: State, { job: id, token }: Of<'abandon'>): Answer {
  const job = state.jobs[id]
  if (!job) return refuse('not_found')
  const isForced = token === null
  const owned = isForced
    ? liveTransition(job)
    : job.transitions.find((each) => each.token === token)
  if (owned?.outcome === 'abandoned' && !isForced) return ok()
  if (!owned || owned.outcome !== null) return refuse('stale_token')
  letGo(state, job, owned, isForced ? 'forced' : 'abandoned')
  return ok()
}

/** Nobody owns its next move any more: it is what it was, or cancelled if that was put off. */
function letGo(
  state: State,
  job: Job,
  owned: Transition,
  outcome: NonNullable<Transition['outcome']>,
): void {
  owned.outcome = outcome
  const here = stageOf(job, owned.stage)
  if (here) place(state, job, here)
  if (job.isCancelRequested) endCancelled(job)
}

/** Whose owners have let their ceiling pass. */
export function expiredTransitions(state: State): Job[] {
  return Object.values(state.jobs).filter((job) => {
    const live = liveTransition(job)
    return live !== undefined && isExpired(state, live)
  })
}

export function expireTransition(state: State, job: Job): void {
  const live = liveTransition(job)
  if (live) letGo(state, job, live, 'expired')
}
