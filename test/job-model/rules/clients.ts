import type { Answer } from '../calls.ts'
import { isRefused } from '../calls.ts'
import type { Of } from './executors.ts'
import { isFinal, type Job, ok, refuse, type Stage, type State } from './state.ts'

/** What clients ask for, of whichever replica. */

function named(seen: Answer): string {
  return isRefused(seen) ? 'a new one' : String(seen.ok.job)
}

/** Whoever has this key now: neither a cancelled job nor one that was retried. */
function ownerOf(state: State, key: string): Job | undefined {
  return Object.values(state.jobs).find((job) => job.key === key && job.state !== 'cancelled')
}

export function submit(state: State, call: Of<'submit'>, seen: Answer): Answer {
  const { key, maxAttempts, delayMin, timeoutMin, stages } = call
  const body = JSON.stringify({ maxAttempts, delayMin, timeoutMin, stages })
  const owner = key === null ? undefined : ownerOf(state, key)
  if (owner) {
    return owner.body === body
      ? ok({ job: owner.id, isNew: false })
      : refuse('idempotency_mismatch')
  }
  const id = named(seen)
  state.jobs[id] = {
    ...emptyJob,
    id,
    key,
    body,
    maxAttempts,
    timeout: timeoutMin,
    runAt: state.now + delayMin,
    isScheduled: delayMin > 0,
    stages: stages.map((stage) => ({ ...stage, isDone: false })),
  }
  const [first] = stages
  if (first) place(state, state.jobs[id], { ...first, isDone: false })
  return ok({ job: id, isNew: true })
}

const emptyJob: Omit<
  Job,
  'id' | 'key' | 'body' | 'maxAttempts' | 'timeout' | 'runAt' | 'isScheduled' | 'stages'
> = {
  state: 'available',
  fence: 0,
  attempt: 0,
  lostLeases: 0,
  holder: null,
  isCancelRequested: false,
  cancelToldAt: null,
  stage: null,
  move: 0,
  waitingFor: null,
  retryOf: null,
  retriedAs: null,
  attempts: [],
  effects: {},
  transitions: [],
  moves: [],
  late: [],
}

/** In a stage, with nobody at work on it. */
export function place(state: State, job: Job, { name, manual }: Stage): void {
  job.stage = name
  job.state = manual ? 'waiting' : 'available'
  job.waitingFor = manual ? 'decision' : null
  job.isScheduled = !manual && job.runAt > state.now
}

export function cancel(state: State, { job: id }: Of<'cancel'>): Answer {
  const job = state.jobs[id]
  if (!job) return refuse('not_found')
  if (job.state === 'cancelled') return ok()
  if (isFinal(job)) return refuse('already_final')
  job.isCancelRequested = true
  // Who holds it is told, and whoever owns its next move is let finish.
  if (!job.holder && job.waitingFor !== 'transition') endCancelled(job)
  return ok()
}

/** The cancel of a job that nobody has in hand. */
export function endCancelled(job: Job): void {
  job.state = 'cancelled'
  job.waitingFor = null
  job.isScheduled = false
  for (const effect of Object.values(job.effects)) effect.holds = false
}

/** A final job never lives again: a new one takes up what it left. */
export function retry(state: State, { job: id }: Of<'retry'>, seen: Answer): Answer {
  const old = state.jobs[id]
  if (!old) return refuse('not_found')
  if (old.retriedAs !== null) return ok({ job: old.retriedAs, isNew: false })
  if (!isFinal(old)) return refuse('job_not_final')
  if (old.state === 'succeeded') return refuse('not_retryable')
  const { key, body, fence, maxAttempts, timeout, stage, stages } = old
  const name = named(seen)
  old.retriedAs = name
  old.key = null
  const job: Job = {
    ...structuredClone(emptyJob),
    id: name,
    key: key !== null && ownerOf(state, key) ? null : key,
    body,
    fence,
    maxAttempts,
    timeout,
    runAt: state.now,
    isScheduled: false,
    stages: structuredClone(stages),
    retryOf: id,
  }
  for (const [name, effect] of Object.entries(old.effects)) {
    // What is known not to have been done is begun afresh.
    if (effect.state === 'aborted') continue
    const state = effect.state === 'committed' ? 'committed' : 'in_doubt'
    job.effects[name] = { ...effect, state, told: null, settledBy: null, holds: false }
  }
  state.jobs[name] = job
  const here = stages.find((each) => each.name === stage)
  if (here) place(state, job, here)
  return ok({ job: name, isNew: true })
}
