import { toleranceMs } from './clocks.ts'
import { type EffectStep, effectKey, endsLease, type Indexed } from './indexed.ts'
import { fateOf, isKind, type OpOf } from './requests.ts'
import type { EffectRow } from './rows.ts'
import type { Rule } from './violation.ts'

/** Invariant 5, by commits: what the ledger must never say. A retry of a job inherits it, under the same tokens. */

const committedStays: Rule = function* committedStays({ commits }) {
  for (const { jobId, key, before, after, commit } of stepsOf(commits)) {
    if (before?.state !== 'committed' || after.state === 'committed') continue
    const what = `effect ${key} of job ${jobId} was committed, and became ${after.state}`
    yield { what, jobId, at: commit.at, events: [commit.event] }
  }
}

const committedOnce: Rule = function* committedOnce(h) {
  const committed = new Map<string, EffectStep>()
  for (const step of stepsOf(h.commits)) {
    const { jobId, key, before, after, commit } = step
    if (after.state !== 'committed' || before?.state === 'committed') continue
    const earlier = committed.get(after.token)
    if (!earlier) committed.set(after.token, step)
    if (before ? !earlier : isInherited(h, step)) continue
    const by = earlier ? `by job ${earlier.jobId} and again` : 'from its first row on'
    const what = `effect ${key} was committed ${by} by job ${jobId}`
    const events = [...(earlier ? [earlier.commit.event] : []), commit.event]
    yield { what, jobId, at: commit.at, events }
  }
}

/** From the job that this one retries, where it was committed by then. */
function isInherited({ jobs, effects }: Indexed, { jobId, key, after, commit }: EffectStep) {
  const retried = jobs.get(jobId)?.[0]?.after?.retryOf ?? ''
  const its = effects.get(effectKey(retried, key))?.findLast((step) => {
    return step.commit.event.order <= commit.event.order
  })?.after
  return its?.state === 'committed' && its.token === after.token
}

const theFirstBeginDecides: Rule = function* theFirstBeginDecides({ commits }) {
  for (const { jobId, key, before, after, commit } of stepsOf(commits)) {
    if (!before || (before.token === after.token && before.onDoubt === after.onDoubt)) continue
    const what = `effect ${key} of job ${jobId} went from token ${before.token}, ${before.onDoubt}, to ${after.token}, ${after.onDoubt}`
    yield { what, jobId, at: commit.at, events: [commit.event] }
  }
}

/** Nobody is to begin what may have been done, unless that is safe. */
const doubtIsNotRepeated: Rule = function* doubtIsNotRepeated({ commits }) {
  for (const { jobId, key, before, after, commit } of stepsOf(commits)) {
    if (!before || !isNewBegin(before, after) || mayBegin(before, after)) continue
    const what = `effect ${key} of job ${jobId} was ${before.state} under fence ${before.fence}, on_doubt ${before.onDoubt}, and was begun anew under fence ${after.fence}`
    yield { what, jobId, at: commit.at, events: [commit.event] }
  }
}

function isNewBegin(before: EffectRow | undefined, after: EffectRow): boolean {
  if (after.state !== 'begun') return false
  return (
    before?.state !== 'begun' || before.beginId !== after.beginId || before.fence !== after.fence
  )
}

function mayBegin(before: EffectRow, after: EffectRow): boolean {
  if (before.state === 'aborted') return true
  const isOpen = before.state === 'begun' || before.state === 'in_doubt'
  return isOpen && before.onDoubt === 'retry' && after.fence > before.fence
}

/** By the commit that ends the lease: between the two, a successor would find nothing in doubt. */
const lostBeginsAreInDoubt: Rule = function* lostBeginsAreInDoubt({ commits }) {
  const begun = new Map<string, Map<string, EffectRow>>()
  for (const { event, at, steps, effects } of commits) {
    for (const { jobId, key, after } of effects) {
      const its = begun.get(jobId) ?? new Map<string, EffectRow>()
      if (after.state === 'begun') begun.set(jobId, its.set(key, after))
      else its.delete(key)
    }
    for (const step of steps) {
      if (!endsLease(step)) continue
      const { jobId, before } = step
      for (const [key, { fence }] of begun.get(jobId) ?? []) {
        const what = `the lease of job ${jobId}, fence ${before?.fence}, ended, and effect ${key}, begun under fence ${fence}, was not put in doubt`
        yield { what, jobId, at, events: [event] }
      }
    }
  }
}

/** By who began it, by who was told to find out, or by an operator who was asked. */
const theirsToSettle: Rule = function* theirsToSettle({ commits, ops }) {
  const resolved = ops.filter((op) => isKind(op, 'effect') && op.ask.verb === 'resolve')
  for (const { jobId, key, before, after, commit } of stepsOf(commits)) {
    const isSettled = after.state === 'committed' || after.state === 'aborted'
    if (!before || !isSettled || before.state === after.state) continue
    const isAsked = (resolved as OpOf<'effect'>[]).some(
      (op) =>
        op.ask.jobId === jobId &&
        op.ask.key === key &&
        op.ask.outcome === after.state &&
        fateOf(op) !== 'refused' &&
        op.invoke.at <= commit.at + toleranceMs,
    )
    if (after.settledBeginId === '' ? isAsked : maySettle(before, after)) continue
    const by = after.settledBeginId === '' ? 'an operator' : `begin ${after.settledBeginId}`
    const what = `effect ${key} of job ${jobId} was ${before.state} by begin ${before.beginId}, and was ${after.state} by ${by}, whose it was not`
    yield { what, jobId, at: commit.at, events: [commit.event] }
  }
}

function maySettle(before: EffectRow, { settledBeginId }: EffectRow): boolean {
  if (before.state === 'begun') return before.beginId === settledBeginId
  return (
    before.state === 'in_doubt' &&
    before.onDoubt === 'reconcile' &&
    before.doubtBeginId === settledBeginId
  )
}

export const ledger = [
  committedStays,
  committedOnce,
  theFirstBeginDecides,
  doubtIsNotRepeated,
  lostBeginsAreInDoubt,
  theirsToSettle,
]

function stepsOf(commits: Indexed['commits']): EffectStep[] {
  return commits.flatMap(({ effects }) => effects)
}

/** Whether this change begins it, for the first time or once more. */
export function begins({ before, after }: EffectStep): boolean {
  return isNewBegin(before, after)
}
