import { toleranceMs } from './clocks.ts'
import type { ActedEvent } from './events.ts'
import { addTo, type EffectStep, effectKey } from './indexed.ts'
import { ledger } from './ledger.ts'
import { begunBy, type Done, doneOps } from './requests.ts'
import { eventsOf, type Rule } from './violation.ts'

/** Invariant 5, by what was done outside: each act is counted, and has to agree with the ledger and with what its
 *  executor was told. */

const actsWereToldToProceed: Rule = function* actsWereToldToProceed({ ops, acts }) {
  const told = new Map<string, number>()
  for (const op of doneOps(ops, 'effect')) {
    const begun = begunBy(op)
    if (op.ask.verb !== 'begin' || begun?.outcome !== 'proceed') continue
    const key = actKey({ ...op.ask, token: begun.token })
    told.set(key, Math.min(told.get(key) ?? Infinity, op.answer.at))
  }
  for (const act of acts) {
    if ((told.get(actKey(act)) ?? Infinity) <= act.at) continue
    const { jobId, fence, key } = act
    const what = `${key} was done for job ${jobId}, fence ${fence}, which nobody had been told to do`
    yield { what, jobId, at: act.at, events: [act] }
  }
}

/** Safe to repeat means once more for each lease. */
const actsHappenOnce: Rule = function* actsHappenOnce({ acts, commits }) {
  const repeatable = new Set<string>()
  for (const { effects } of commits) {
    for (const { after } of effects) if (after.onDoubt === 'retry') repeatable.add(after.token)
  }
  const done = new Map<string, ActedEvent>()
  for (const act of acts) {
    const { token, jobId, fence, key } = act
    const its = repeatable.has(token) ? actKey(act) : token
    const earlier = done.get(its)
    done.set(its, act)
    if (!earlier) continue
    const what = `${key} was done twice: for job ${earlier.jobId}, fence ${earlier.fence}, and for job ${jobId}, fence ${fence}`
    yield { what, jobId, at: act.at, events: [earlier, act] }
  }
}

/** Who says that it was done has done it, and who says that it was not has not: else the next attempt goes by a lie. */
const theLedgerIsTrue: Rule = function* theLedgerIsTrue({ acts, commits }) {
  const done = new Map<string, ActedEvent[]>()
  for (const act of acts) addTo(done, act.token, act)
  for (const { at, event, effects } of commits) {
    for (const { jobId, key, before, after } of effects) {
      if (before?.state === after.state) continue
      const first = done.get(after.token)?.find((act) => act.at <= at + toleranceMs)
      const isTrue =
        after.state === 'committed' ? first !== undefined : !first || after.onDoubt === 'retry'
      const isSaid = after.state === 'committed' || after.state === 'aborted'
      if (!isSaid || isTrue) continue
      const what = `effect ${key} of job ${jobId} is ${after.state}, and it was ${first ? '' : 'not '}done`
      yield { what, jobId, at, events: [...(first ? [first] : []), event] }
    }
  }
}

/** Not even late, by somebody who was taken for dead: what ends as not done was never done, or nobody knows of it. */
const abortedStaysUndone: Rule = function* abortedStaysUndone({ acts, effects }) {
  const ends = new Map<string, EffectStep[]>()
  for (const steps of effects.values()) {
    const end = steps.at(-1)
    if (end) addTo(ends, end.after.token, end)
  }
  for (const act of acts) {
    const its = ends.get(act.token) ?? []
    const isDenied = ({ after }: EffectStep) =>
      after.state === 'aborted' && after.onDoubt !== 'retry'
    if (its.length === 0 || !its.every(isDenied)) continue
    const { jobId, fence, key, at } = act
    const what = `effect ${key} of job ${jobId} was done under fence ${fence}, and ends as aborted`
    yield { what, jobId, at, events: [act, ...its.map(({ commit }) => commit.event)] }
  }
}

/** What an executor is told of the ledger is in it by then. */
const answersAreInTheLedger: Rule = function* answersAreInTheLedger(h) {
  for (const op of doneOps(h.ops, 'effect')) {
    const { jobId, key, verb, beginId } = op.ask
    const isSo = writtenFor(op)
    const steps = h.effects.get(effectKey(jobId, key)) ?? []
    if (steps.some((step) => isSo(step) && step.commit.at <= op.answer.at + toleranceMs)) continue
    const told = begunBy(op)?.outcome ?? `that its ${verb} counts`
    const what = `begin ${beginId || 'of nobody'} of effect ${key}, job ${jobId}, was told ${told}, which is not in the ledger`
    yield { what, jobId, at: op.answer.at, events: eventsOf(op) }
  }
}

/** What has to be there for the answer that this was given. */
function writtenFor(op: Done<'effect'>): (step: EffectStep) => boolean {
  const { verb, beginId, fence, outcome } = op.ask
  const is = (state: string) => (step: EffectStep) => step.after.state === state
  switch (verb) {
    case 'resolve':
      return is(outcome)
    case 'commit':
    case 'abort': {
      const state = verb === 'commit' ? 'committed' : 'aborted'
      return ({ after }) => after.state === state && after.settledBeginId === beginId
    }
    case 'begin':
      break
  }
  const told = begunBy(op)?.outcome
  if (told === 'committed') return is(told)
  return ({ after }) =>
    told === 'proceed'
      ? after.state === 'begun' && after.beginId === beginId && after.fence === fence
      : after.state === 'in_doubt' && after.doubtBeginId === beginId && after.doubtFence === fence
}

export const effectsOnce = [
  ...ledger,
  actsWereToldToProceed,
  actsHappenOnce,
  theLedgerIsTrue,
  abortedStaysUndone,
  answersAreInTheLedger,
]

function actKey({ jobId, fence, token }: Pick<ActedEvent, 'jobId' | 'fence' | 'token'>): string {
  return `${jobId} ${fence} ${token}`
}
