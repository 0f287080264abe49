import type { Answer } from '../calls.ts'
import { judge, type Of } from './executors.ts'
import { endByDoubt } from './leases.ts'
import {
  type Asker,
  type Effect,
  isCancelInForce,
  isFinal,
  type Job,
  ok,
  refuse,
  type State,
  wasHeldBy,
} from './state.ts'

/** The ledger: an act is told to proceed once, and again only once it is known not to have been done, or if it was
 *  declared safe to repeat. */

function isBy(asker: Asker | null, { beginId, fence }: Asker): boolean {
  return asker?.beginId === beginId && asker.fence === fence
}

/** What a begin comes to, of whoever holds the job. */
type Verdict =
  | 'begin'
  | 'again'
  | 'tell'
  | 'tell again'
  | 'hold'
  | 'committed'
  | { refused: string }

function verdictOf(effect: Effect | undefined, asker: Asker): Verdict {
  if (!effect) return 'begin'
  const { state, begun, told, onDoubt } = effect
  if (state === 'committed') return 'committed'
  if (state === 'aborted') {
    const isLate = isBy(begun, asker) || isBy(told, asker)
    return isLate ? { refused: 'effect_settled' } : 'begin'
  }
  if (state === 'begun') {
    if (isBy(begun, asker)) return 'again'
    if (begun.fence === asker.fence) return { refused: 'effect_in_progress' }
  }
  if (onDoubt === 'retry') return 'begin'
  if (onDoubt === 'hold') return 'hold'
  if (isBy(told, asker)) return 'tell again'
  return told?.fence === asker.fence ? { refused: 'effect_in_progress' } : 'tell'
}

export function begin(state: State, call: Of<'begin'>, seen: Answer): Answer {
  const { lease, key, beginId } = call
  const asker = { beginId, fence: lease.fence }
  const judged = judge(state, lease)
  if ('refusal' in judged) {
    const effect = state.jobs[lease.job]?.effects[key]
    const isTold = effect?.holds && isBy(effect.told, asker)
    const wasTheirs = isTold && wasHeldBy(state.jobs[lease.job] as Job, lease)
    return wasTheirs ? answer('in_doubt', effect) : judged.refusal
  }
  const { job } = judged
  const verdict = verdictOf(job.effects[key], asker)
  const isRepeated = verdict === 'again' || verdict === 'tell again'
  if (isCancelInForce(state, job) && !isRepeated) return refuse('cancel_requested')
  if (typeof verdict !== 'string') return verdict
  return write(job, call, verdict, seen)
}

function write(
  job: Job,
  { lease, key, beginId, onDoubt }: Of<'begin'>,
  verdict: Exclude<Verdict, object>,
  seen: Answer,
): Answer {
  const asker = { beginId, fence: lease.fence }
  if (verdict === 'begin') {
    const before = job.effects[key]
    const token = before?.token ?? newToken(seen)
    const fixed = before ?? { onDoubt, token, told: null, holds: false }
    job.effects[key] = { ...fixed, state: 'begun', begun: asker, settledBy: null }
  }
  const effect = job.effects[key] as Effect
  if (verdict === 'begin' || verdict === 'again') return answer('proceed', effect)
  if (verdict === 'committed') return answer('committed', effect)
  if (verdict === 'tell again') return answer('in_doubt', effect)
  effect.state = 'in_doubt'
  effect.told = asker
  if (verdict === 'hold') {
    effect.holds = true
    endByDoubt(job)
  }
  return answer('in_doubt', effect)
}

/** It is stable from here on. */
function newToken(seen: Answer): string {
  return 'ok' in seen ? String(seen.ok.token) : 'a new one'
}

function answer(outcome: string, { token, onDoubt }: Effect): Answer {
  return ok({ outcome, token, onDoubt })
}

/** Whoever holds the job with this fence may be about to say how it was. */
function isInProgress({ state, begun, told, onDoubt }: Effect, fence: number): boolean {
  if (state === 'begun') return begun.fence === fence
  return state === 'in_doubt' && onDoubt === 'reconcile' && told?.fence === fence
}

export function settle(state: State, { lease, key, beginId, as }: Of<'settle'>): Answer {
  const asker = { beginId, fence: lease.fence }
  const judged = judge(state, lease)
  const job = state.jobs[lease.job]
  const effect = job?.effects[key]
  if (!job || !effect) return 'refusal' in judged ? judged.refusal : refuse('not_found')
  if (effect.state === as && isBy(effect.settledBy, asker)) {
    if (!('refusal' in judged) || wasHeldBy(job, lease)) return ok({ state: as })
  }
  if ('refusal' in judged) return judged.refusal
  const isTheirs = isBy(effect.state === 'begun' ? effect.begun : effect.told, asker)
  if (!isInProgress(effect, lease.fence) || !isTheirs) {
    const isKnown = effect.state === 'committed' || effect.state === 'aborted'
    return refuse(isKnown ? 'effect_settled' : 'effect_in_progress')
  }
  effect.state = as
  effect.settledBy = asker
  return ok({ state: as })
}

/** An operator knows. */
export function resolve(state: State, { job: id, key, as }: Of<'resolve'>): Answer {
  const job = state.jobs[id]
  const effect = job?.effects[key]
  if (!job || !effect) return refuse('not_found')
  if (job.state === 'leased' && isInProgress(effect, job.fence)) return refuse('effect_in_progress')
  if (effect.state === as) return ok({ state: as })
  if (effect.state !== 'begun' && effect.state !== 'in_doubt') return refuse('effect_settled')
  if (job.retriedAs !== null) return refuse('job_retried')
  const wasHeld = effect.holds
  Object.assign(effect, { state: as, settledBy: null, holds: false })
  const isStillHeld = Object.values(job.effects).some(({ holds }) => holds)
  if (wasHeld && !isStillHeld && !isFinal(job) && job.waitingFor === 'effect') {
    job.state = 'available'
    job.waitingFor = null
  }
  return ok({ state: as })
}
