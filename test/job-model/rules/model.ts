import type { Answer, Call, SweepName } from '../calls.ts'
import { isRefused } from '../calls.ts'
import * as clients from './clients.ts'
import * as effects from './effects.ts'
import * as executors from './executors.ts'
import { endByCancel, endByFailure, endByLoss } from './leases.ts'
import {
  type Course,
  isPastFloor,
  type Job,
  limits,
  ok,
  openedAt,
  refuse,
  type State,
} from './state.ts'
import * as transitions from './transitions.ts'

/** Every course that the system may take from there by this call, given what it answered: ids and tokens, and which jobs
 *  a poll is given, are its own choice. A call is alone if nothing else is under way; what is not may step round rows
 *  that others have locked. */
export function coursesOf(before: State, call: Call, seen: Answer, isAlone: boolean): Course[] {
  if ('term' in call && call.term !== before.term) return [refusedZombie(before, seen)]
  if (call.do === 'sweep') return sweepCourses(before, call.name, isAlone)
  if (call.do === 'promote') return promoteCourses(before, seen, isAlone)
  const state = structuredClone(before)
  return [{ state, answer: answerOf(state, call, seen, isAlone) }]
}

/** Once what a heartbeat of this executor found lost has gone back. */
export function stateAfterGiveBack(before: State, executor: string): State {
  const state = structuredClone(before)
  executors.giveBack(state, executor)
  return state
}

/** What it may say that has to do with its term; and what it reads may be older, or newer, than its memory. */
const refusalsOfZombies: ReadonlySet<string> = new Set([
  'controller_standby',
  'controller_recovering',
  'database_unavailable',
  'not_found',
  'stale_epoch',
  'stale_fence',
  'already_final',
  'cancel_requested',
  'effect_in_progress',
  'effect_settled',
])

/** Invariant 1: whatever the replica of an older term believes, it writes nothing and gives nothing out. */
function refusedZombie(state: State, seen: Answer): Course {
  const isNothing = isRefused(seen)
    ? refusalsOfZombies.has(seen.refused)
    : Object.values(seen.ok).flat().length === 0
  return { state, answer: isNothing ? seen : refuse('controller_standby') }
}

function answerOf(
  state: State,
  call: Exclude<Call, { do: 'sweep' | 'promote' }>,
  seen: Answer,
  isAlone: boolean,
): Answer {
  switch (call.do) {
    case 'register':
      return executors.register(state, call)
    case 'deregister':
      return executors.deregister(state, call)
    case 'poll':
      return executors.poll(state, call, seen, isAlone)
    case 'heartbeat':
      return executors.heartbeat(state, call)
    case 'report':
      return executors.report(state, call)
    case 'critical':
      return executors.critical(state, call)
    case 'begin':
      return effects.begin(state, call, seen)
    case 'settle':
      return effects.settle(state, call)
    case 'resolve':
      return effects.resolve(state, call)
    case 'submit':
      return clients.submit(state, call, seen)
    case 'cancel':
      return clients.cancel(state, call)
    case 'retry':
      return clients.retry(state, call, seen)
    case 'transition':
      return transitions.transition(state, call)
    case 'own':
      return transitions.own(state, call, seen)
    case 'commit':
      return transitions.commit(state, call)
    case 'abandon':
      return transitions.abandon(state, call)
    case 'pass':
      return pass(state, call)
  }
}

function pass(state: State, { min, isServed }: executors.Of<'pass'>): Answer {
  state.now += min
  if (isServed) state.servedAt = state.now
  return ok()
}

/** What each sweep finds due, and what becomes of it. */
const sweeps: Record<SweepName, { due: (state: State) => Job[]; end: Ends }> = {
  expire_leases: {
    due: (state) =>
      Object.values(state.jobs).filter(
        ({ holder }) => holder && holder.expiresAt <= state.now && isPastFloor(state),
      ),
    end: (_state, job) => endByLoss(job),
  },
  end_unanswered_cancels: {
    due: (state) =>
      Object.values(state.jobs).filter(({ holder, cancelToldAt }) => {
        const opened = openedAt(state)
        if (!holder || cancelToldAt === null || opened === null) return false
        return Math.max(cancelToldAt, opened) + limits.cancelGrace <= state.now
      }),
    end: (_state, job) => endByCancel(job, true),
  },
  enforce_run_timeouts: {
    due: (state) =>
      Object.values(state.jobs).filter(({ holder, timeout }) => {
        if (!holder || timeout === null || !isPastFloor(state)) return false
        return holder.since + timeout + limits.runTimeoutGrace <= state.now
      }),
    end: (state, job) => endByFailure(state, job, true, true),
  },
  wake_due_jobs: {
    due: (state) =>
      Object.values(state.jobs).filter(
        (job) => job.state === 'available' && job.isScheduled && job.runAt <= state.now,
      ),
    end: (_state, job) => {
      job.isScheduled = false
    },
  },
  expire_transitions: {
    due: transitions.expiredTransitions,
    end: (state, job) => transitions.expireTransition(state, job),
  },
}

type Ends = (state: State, job: Job) => void

function sweepCourses(before: State, name: SweepName, isAlone: boolean): Course[] {
  const { due, end } = sweeps[name]
  return endings(before, due(before), end, isAlone).map((state) => ({ state, answer: ok() }))
}

/** Leases that ran out while somebody could still hear their holders are taken back at once; all others, and all other
 *  deadlines, start over with the gate (invariant 7). */
function promoteCourses(before: State, seen: Answer, isAlone: boolean): Course[] {
  const { servedAt, floor } = before
  const wasServed = servedAt !== null && floor !== null && floor <= servedAt
  const due = Object.values(before.jobs).filter(
    ({ holder }) => wasServed && holder && holder.expiresAt <= servedAt,
  )
  return endings(before, due, (_state, job) => endByLoss(job), isAlone).map((state) => {
    state.term = termAfter(before, seen)
    state.floor = state.now + limits.leaseTtl
    forgetMemory(state)
    return { state, answer: ok({ term: state.term }) }
  })
}

/** A promotion that was not answered, and so was made again, may have used one up. */
function termAfter({ term }: State, seen: Answer): number {
  const told = isRefused(seen) ? 0 : Number(seen.ok.term)
  return Math.max(term + 1, told)
}

/** A new leader knows what the tables tell of offers and polls; of several polls of an executor, the latest. */
function forgetMemory(state: State): void {
  state.lastPolls = {}
  const holders = Object.values(state.jobs).flatMap(({ holder }) => holder ?? [])
  for (const holder of holders.sort((a, b) => a.place - b.place)) {
    holder.offer = holder.isOffered ? { missedAt: null } : null
    state.lastPolls[holder.executor] = holder.pollId
  }
}

/** All that is due is ended, or any part of it where others may have rows locked. */
function endings(before: State, due: Job[], end: Ends, isAlone: boolean): State[] {
  const choices = isAlone ? [due] : subsetsOf(due)
  return choices.map((chosen) => {
    const state = structuredClone(before)
    for (const { id } of chosen) end(state, state.jobs[id] as Job)
    return state
  })
}

function subsetsOf<T>(items: T[]): T[][] {
  const [first, ...rest] = items
  if (first === undefined) return [[]]
  const smaller = subsetsOf(rest)
  return [...smaller.map((subset) => [first, ...subset]), ...smaller]
}
