import { told } from './cancels-told.ts'
import { toleranceMs } from './clocks.ts'
import { endsLease, givesLease, type Indexed, type Step } from './indexed.ts'
import { begins } from './ledger.ts'
import { isFinal, type JobRow } from './rows.ts'
import type { Rule } from './violation.ts'

/** Invariant 6, by commits: a cancel that was asked for is there until the job has ended, and nothing leads past it. */

const cancelsStay: Rule = function* cancelsStay({ commits }) {
  for (const { jobId, before, after, commit } of stepsOf(commits)) {
    if (!before || !after || before.cancelRequestedAt === '') continue
    if (after.cancelRequestedAt === before.cancelRequestedAt) continue
    const what = `the cancel of job ${jobId} of ${before.cancelRequestedAt} became ${after.cancelRequestedAt || 'none'}`
    yield { what, jobId, at: commit.at, events: [commit.event] }
  }
}

/** The success of the last stage is faster; whoever owns the next move of a job ends that first. */
const cancelledGoNowhereElse: Rule = function* cancelledGoNowhereElse({ commits }) {
  for (const step of stepsOf(commits)) {
    const { jobId, before, after, commit } = step
    if (!before || !after || before.cancelRequestedAt === '' || isFinal(before.state)) continue
    if (after.state === 'cancelled' || after.state === 'succeeded') continue
    const isKept = after.state === before.state && !givesLease(step) && !endsLease(step)
    if (isKept && (after.state === 'leased' || before.waitingFor === 'transition')) continue
    const what = `job ${jobId}, whose cancel was asked for, went from ${before.state} to ${after.state}, fence ${after.fence}`
    yield { what, jobId, at: commit.at, events: [commit.event] }
  }
}

const sectionsHoldCancelsOff: Rule = function* sectionsHoldCancelsOff({ commits }) {
  for (const { jobId, before, after, commit } of stepsOf(commits)) {
    if (!before || !after || before.cancelToldAt !== '' || after.cancelToldAt === '') continue
    const endsAt = (before.criticalEnteredAt ?? 0) + before.criticalCeilingMs
    if (!isDeferring(before) || endsAt <= commit.event.committedAt + toleranceMs) continue
    const what = `job ${jobId}, fence ${before.fence}, was told of its cancel in its critical section, ${(endsAt - commit.event.committedAt).toFixed(0)} ms before its ceiling`
    yield { what, jobId, at: commit.at, events: [commit.event] }
  }
}

/** Neither an effect nor a section, where a cancel is in force. */
const nothingBeginsUnderACancel: Rule = function* nothingBeginsUnderACancel({ commits }) {
  const jobs = new Map<string, JobRow>()
  for (const { event, at, steps, effects } of commits) {
    for (const effect of effects) {
      const job = jobs.get(effect.jobId)
      if (!begins(effect) || !job || job.cancelRequestedAt === '' || isDeferring(job)) continue
      const { jobId, key } = effect
      const what = `effect ${key} of job ${jobId} was begun, whose cancel was in force`
      yield { what, jobId, at, events: [event] }
    }
    for (const { jobId, before, after } of steps) {
      if (after) jobs.set(jobId, after)
      if (!before || !after || before.cancelRequestedAt === '') continue
      if (!isDeferring(after) || after.criticalEnteredAt === before.criticalEnteredAt) continue
      const what = `job ${jobId} entered a critical section, though its cancel was asked for`
      yield { what, jobId, at, events: [event] }
    }
  }
}

export const cancelsArrive = [
  cancelsStay,
  cancelledGoNowhereElse,
  sectionsHoldCancelsOff,
  nothingBeginsUnderACancel,
  ...told,
]

function stepsOf(commits: Indexed['commits']): Step[] {
  return commits.flatMap(({ steps }) => steps)
}

/** In a section, and nobody was told before it. */
function isDeferring(job: JobRow): boolean {
  return job.state === 'leased' && job.criticalFence === job.fence && job.cancelToldAt === ''
}
