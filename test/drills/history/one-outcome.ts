import { toleranceMs } from './clocks.ts'
import { leaseKey } from './indexed.ts'
import { doneOps, fateOf, isKind, type OpOf, placedBy } from './requests.ts'
import { isFinal } from './rows.ts'
import { eventsOf, type Rule } from './violation.ts'

/** Invariant 3. */

const finalJobsStay: Rule = function* finalJobsStay({ commits }) {
  for (const { event, at, steps } of commits) {
    for (const { jobId, before, after } of steps) {
      if (!before || !isFinal(before.state)) continue
      if (after?.state === before.state && after.fence === before.fence) continue
      const to = after ? `${after.state}, fence ${after.fence}` : 'nothing'
      const what = `job ${jobId} was ${before.state}, fence ${before.fence}, and became ${to}`
      yield { what, jobId, at, events: [event] }
    }
  }
}

const acknowledgedJobsEnd: Rule = function* acknowledgedJobsEnd(h) {
  const drained = h.events.find((event) => event.type === 'drained')
  if (!drained) return
  for (const op of doneOps(h.ops, 'submit')) {
    for (const { id } of placedBy(op)) {
      const step = h.jobs.get(id)?.at(-1)
      // One that is not there at all was not durable, or was deleted: that is said elsewhere.
      if (!step?.after || isFinal(step.after.state)) continue
      const { state, fence } = step.after
      const what = `job ${id} was acknowledged and is still ${state}, fence ${fence}, after the drain`
      const events = [...eventsOf(op), step.commit.event, drained]
      yield { what, jobId: id, at: drained.at, events }
    }
  }
}

const successesWereReported: Rule = function* successesWereReported({ ops, commits }) {
  const reports = new Map<string, OpOf<'report'>>()
  for (const op of ops) {
    if (!isKind(op, 'report') || fateOf(op) === 'refused') continue
    for (const { jobId, fence, outcome } of op.ask.items) {
      const key = leaseKey(jobId, fence)
      if (outcome === 'succeeded' && !reports.has(key)) reports.set(key, op)
    }
  }
  for (const { event, at, steps } of commits) {
    for (const { jobId, before, after } of steps) {
      if (after?.state !== 'succeeded' || before?.state === 'succeeded') continue
      const report = reports.get(leaseKey(jobId, after.fence))
      if (report && report.invoke.at <= at + toleranceMs) continue
      const what = `job ${jobId} succeeded under fence ${after.fence}, which nobody had reported`
      yield { what, jobId, at, events: [event, ...(report ? eventsOf(report) : [])] }
    }
  }
}

export const oneOutcome = [finalJobsStay, acknowledgedJobsEnd, successesWereReported]
