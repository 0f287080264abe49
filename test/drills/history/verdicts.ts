import { toleranceMs } from './clocks.ts'
import { type Attempt, epochKey, findLease, type Indexed, leaseKey, moves } from './indexed.ts'
import { type Done, doneOps, type Op, verdictsOf } from './requests.ts'
import { eventsOf, type Rule } from './violation.ts'

/** Invariant 2: what reporters are told is what was done with their reports. */

const countedReportsAreTheAttempt: Rule = function* countedReportsAreTheAttempt(h) {
  for (const op of doneOps(h.ops, 'report')) {
    const { executorId, epoch } = op.ask
    for (const { jobId, fence, outcome, status } of verdictsOf(op)) {
      const attempt = h.attempts.get(leaseKey(jobId, fence))?.[0]
      if (!attempt || !counts(status)) continue
      const told = `${outcome} by ${executorId}, epoch ${epoch}`
      const stands = `${attempt.outcome} by ${attempt.executorId}, epoch ${attempt.epoch}`
      if (told === stands) continue
      const what = `job ${jobId}, fence ${fence}: ${status} as ${told}, recorded as ${stands}`
      const events = [attempt.commit.event, ...eventsOf(op)]
      yield { what, jobId, executorId, at: op.answer.at, events }
    }
  }
}

/** An executor that is rejected drops its work. It must not be while the lease is its own, from before it
 *  asked until after it was answered, nor when that lease had ended just so before it asked again. */
const ownersAreHeard: Rule = function* ownersAreHeard(h) {
  for (const op of doneOps(h.ops, 'report')) {
    const { executorId, epoch } = op.ask
    // Its newer self has given up what it held: from then on it is no owner, taken back or not.
    const newer = h.epochs.get(epochKey(executorId, epoch + 1))
    if ((newer?.at ?? Infinity) <= op.answer.at + toleranceMs) continue
    for (const { jobId, fence, outcome, status } of verdictsOf(op)) {
      if (counts(status)) continue
      const held = findOwn(h, { jobId, fence }, op)
      const ended = findEndedSo(h, { jobId, fence, outcome }, op)
      if (!held && !ended) continue
      const stood = held ? 'which it held all the while' : `which had ${outcome} by its own report`
      const what = `executor ${executorId}, epoch ${epoch}, was told ${status} of job ${jobId}, fence ${fence}, ${stood}`
      const commit = held ? held.given.commit : ended?.commit
      const events = [...(commit ? [commit.event] : []), ...eventsOf(op)]
      yield { what, jobId, executorId, at: op.answer.at, events }
    }
  }
}

const oneVerdict: Rule = function* oneVerdict({ ops }) {
  const accepted = new Map<string, { op: Op; outcome: string }>()
  for (const op of doneOps(ops, 'report')) {
    for (const { jobId, fence, outcome, status } of verdictsOf(op)) {
      if (status !== 'accepted') continue
      const earlier = accepted.get(leaseKey(jobId, fence))
      accepted.set(leaseKey(jobId, fence), { op, outcome })
      if (!earlier) continue
      const what = `two reports on job ${jobId}, fence ${fence}, were accepted: ${earlier.outcome} and ${outcome}`
      yield { what, jobId, at: op.answer.at, events: eventsOf(earlier.op, op) }
    }
  }
}

/** Each stage has its own: a success that led on to the next one ended nothing. */
const oneSuccess: Rule = function* oneSuccess(h) {
  const succeeded = new Map<string, { op: Done<'report'>; fence: number }>()
  for (const op of doneOps(h.ops, 'report')) {
    for (const { jobId, fence, outcome, status } of verdictsOf(op)) {
      if (status !== 'accepted' || outcome !== 'succeeded') continue
      const ended = h.leases.get(leaseKey(jobId, fence))?.at(-1)?.ended
      if (ended && moves(ended)) continue
      const earlier = succeeded.get(jobId)
      succeeded.set(jobId, { op, fence })
      if (!earlier || earlier.fence === fence) continue
      const what = `two successes of job ${jobId} were accepted: of ${earlier.op.ask.executorId}, fence ${earlier.fence}, and of ${op.ask.executorId}, fence ${fence}`
      yield { what, jobId, at: op.answer.at, events: eventsOf(earlier.op, op) }
    }
  }
}

export const verdicts = [countedReportsAreTheAttempt, ownersAreHeard, oneVerdict, oneSuccess]

function counts(status: string): boolean {
  return status === 'accepted' || status === 'duplicate'
}

type Reported = { jobId: string; fence: number }

/** The reporter's lease, if it was that for the whole of the request. */
function findOwn(h: Indexed, reported: Reported, { ask, invoke, answer }: Done<'report'>) {
  const lease = findLease(h, reported, ask)
  if (!lease || lease.given.commit.at > invoke.at - toleranceMs) return undefined
  const endedAt = lease.ended?.commit.at ?? Infinity
  return endedAt > answer.at + toleranceMs ? lease : undefined
}

/** The reporter's attempt, if it had ended as it says before it said so (again). */
function findEndedSo(
  h: Indexed,
  { jobId, fence, outcome }: Reported & { outcome: string },
  { ask, invoke }: Done<'report'>,
): Attempt | undefined {
  return h.attempts
    .get(leaseKey(jobId, fence))
    ?.find(
      (attempt) =>
        attempt.outcome === outcome &&
        attempt.executorId === ask.executorId &&
        attempt.epoch === ask.epoch &&
        attempt.commit.at <= invoke.at - toleranceMs,
    )
}
