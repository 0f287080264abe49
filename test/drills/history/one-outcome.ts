import { toleranceMs } from './clocks.ts'
import { type Attempt, leaseKey, ownedKey } from './indexed.ts'
import { doneOps, fateOf, type Held, isKind, type Op, type OpOf, placedBy } from './requests.ts'
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

/** Every other outcome than these is found by a replica itself. So are some of these: then the owner loses its lease,
 *  and with it the fence. */
const reportable = new Set(['succeeded', 'failed', 'cancelled', 'released'])

const outcomesWereReported: Rule = function* outcomesWereReported({ ops, commits }) {
  const reports = firstReports(ops, (item, owner) => `${ownedKey(item, owner)} ${item.outcome}`)
  for (const { event, at, attempts } of commits) {
    for (const attempt of attempts) {
      const { jobId, fence, executorId, epoch, outcome } = attempt
      const report = reports.get(`${ownedKey(attempt, attempt)} ${outcome}`)
      if (!reportable.has(outcome) || isBy(report, at) || isFound(attempt)) continue
      const what = `job ${jobId}, fence ${fence}, ${outcome} by ${executorId}, epoch ${epoch}, which had not reported that`
      yield { what, jobId, executorId, at, events: [event, ...(report ? eventsOf(report) : [])] }
    }
  }
}

const successesWereReported: Rule = function* successesWereReported({ ops, commits }) {
  const reports = firstReports(ops, leaseAndOutcome)
  for (const { event, at, steps } of commits) {
    for (const { jobId, before, after } of steps) {
      if (after?.state !== 'succeeded' || before?.state === 'succeeded') continue
      const { fence } = after
      const report = reports.get(leaseAndOutcome({ jobId, fence, outcome: 'succeeded' }))
      if (isBy(report, at)) continue
      const what = `job ${jobId} succeeded under fence ${fence}, which nobody had reported`
      yield { what, jobId, at, events: [event, ...(report ? eventsOf(report) : [])] }
    }
  }
}

const cancelsWereAskedFor: Rule = function* cancelsWereAskedFor({ ops, commits }) {
  const reports = firstReports(ops, leaseAndOutcome)
  const cancels = new Map<string | undefined, OpOf<'cancel'>>()
  for (const op of ops) {
    if (!isKind(op, 'cancel') || fateOf(op) === 'refused') continue
    if (!cancels.has(op.ask.jobId)) cancels.set(op.ask.jobId, op)
  }
  for (const { event, at, steps } of commits) {
    for (const { jobId, before, after } of steps) {
      if (after?.state !== 'cancelled' || before?.state === 'cancelled') continue
      const fence = before?.fence ?? 0
      const asked = [
        ...[cancels.get(jobId), cancels.get(undefined)],
        reports.get(leaseAndOutcome({ jobId, fence, outcome: 'cancelled' })),
      ]
      if (asked.some((op) => isBy(op, at))) continue
      const what = `job ${jobId}, fence ${fence}, was cancelled, which nobody had asked for`
      const late = asked.filter((op) => op !== undefined)
      yield { what, jobId, at, events: [event, ...eventsOf(...late)] }
    }
  }
}

export const oneOutcome = [
  finalJobsStay,
  acknowledgedJobsEnd,
  outcomesWereReported,
  successesWereReported,
  cancelsWereAskedFor,
]

type Reported = Held & { outcome: string }

/** An effect is in doubt that only an operator can resolve, or a cancel was told and not answered. */
function isFound({ jobId, fence, outcome, commit }: Attempt): boolean {
  const step = commit.steps.findLast((one) => one.jobId === jobId)
  const after = step?.after
  if (!after || after.fence !== fence + 1) return false
  if (outcome === 'cancelled') return after.state === 'cancelled' && after.cancelToldAt !== ''
  const isHeld = commit.effects.some((effect) => {
    return effect.jobId === jobId && effect.after.state === 'in_doubt'
  })
  return outcome === 'released' && isHeld
}

function leaseAndOutcome({ jobId, fence, outcome }: Reported): string {
  return `${leaseKey(jobId, fence)} ${outcome}`
}

/** The first report of each key that may have been carried out. */
function firstReports(
  ops: Op[],
  keyOf: (item: Reported, owner: OpOf<'report'>['ask']) => string,
): Map<string, OpOf<'report'>> {
  const reports = new Map<string, OpOf<'report'>>()
  for (const op of ops) {
    if (!isKind(op, 'report') || fateOf(op) === 'refused') continue
    for (const item of op.ask.items) {
      const key = keyOf(item, op.ask)
      if (!reports.has(key)) reports.set(key, op)
    }
  }
  return reports
}

/** It was asked before that was committed. */
function isBy(op: Op | undefined, at: number): boolean {
  return op !== undefined && op.invoke.at <= at + toleranceMs
}
