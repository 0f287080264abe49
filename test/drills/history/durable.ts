import { toleranceMs } from './clocks.ts'
import { idempotency } from './idempotency.ts'
import { type Commit, epochKey, findLease, leaseKey } from './indexed.ts'
import { assignedBy, doneOps, type Op, placedBy, registeredBy, verdictsOf } from './requests.ts'
import { eventsOf, type Finding, type Rule } from './violation.ts'

/** Invariant 4: what was answered as done had been committed by then. */

const submitsAreCommitted: Rule = function* submitsAreCommitted({ ops, jobs }) {
  for (const op of doneOps(ops, 'submit')) {
    const placed = placedBy(op)
    if (placed.length !== op.ask.items.length) {
      const what = `${op.invoke.op} submitted ${op.ask.items.length} jobs and was told of ${placed.length}`
      yield { what, at: op.answer.at, events: eventsOf(op) }
    }
    for (const { id } of placed) {
      const inserted = jobs.get(id)?.[0]?.commit
      const finding = notByThen(op, inserted, `job ${id} was acknowledged`)
      if (finding) yield { ...finding, jobId: id }
    }
  }
}

const registrationsAreCommitted: Rule = function* registrationsAreCommitted({ ops, epochs }) {
  for (const op of doneOps(ops, 'register')) {
    const { executorId } = op.ask
    const { epoch } = registeredBy(op)
    const told = `executor ${executorId} was registered under epoch ${epoch}`
    const finding = notByThen(op, epochs.get(epochKey(executorId, epoch)), told)
    if (finding) yield { ...finding, executorId }
  }
}

const assignmentsAreCommitted: Rule = function* assignmentsAreCommitted(h) {
  for (const op of doneOps(h.ops, 'poll')) {
    const { executorId, epoch } = op.ask
    for (const { jobId, fence } of assignedBy(op)) {
      const lease = findLease(h, { jobId, fence }, op.ask)
      // Leased to somebody else: that is invariant 2.
      if (!lease && h.leases.has(leaseKey(jobId, fence))) continue
      const told = `executor ${executorId}, epoch ${epoch}, was given job ${jobId}, fence ${fence}`
      const finding = notByThen(op, lease?.given.commit, told)
      if (finding) yield { ...finding, jobId, executorId }
    }
  }
}

const reportsAreCommitted: Rule = function* reportsAreCommitted(h) {
  for (const op of doneOps(h.ops, 'report')) {
    const { executorId } = op.ask
    for (const { jobId, fence, outcome, status } of verdictsOf(op)) {
      if (status !== 'accepted' && status !== 'duplicate') continue
      const attempt = h.attempts.get(leaseKey(jobId, fence))?.[0]
      const told = `the report of ${executorId} that job ${jobId}, fence ${fence}, ${outcome} was ${status}`
      const finding = notByThen(op, attempt?.commit, told)
      if (finding) yield { ...finding, jobId, executorId }
    }
  }
}

export const durable = [
  submitsAreCommitted,
  registrationsAreCommitted,
  assignmentsAreCommitted,
  reportsAreCommitted,
  ...idempotency,
]

function notByThen(op: Op, commit: Commit | undefined, told: string): Finding | undefined {
  const at = op.answer?.at ?? op.invoke.at
  if (!commit) return { what: `${told}, and it was never committed`, at, events: eventsOf(op) }
  const lateMs = commit.at - at
  if (lateMs <= toleranceMs) return undefined
  const what = `${told} ${lateMs.toFixed(1)} ms before it was committed`
  return { what, at, events: [...eventsOf(op), commit.event] }
}
