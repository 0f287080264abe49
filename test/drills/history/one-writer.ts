import { endsLease, givesLease, type Leadership, type Step } from './indexed.ts'
import { type Done, doneOps, type Op, termNamedBy } from './requests.ts'
import { eventsOf, type Rule } from './violation.ts'

/** Invariant 1, by the order of commits: what clocks say decides nothing here. */

const termsRiseByOne: Rule = function* termsRiseByOne({ commits }) {
  for (const { event, at, inForce, promoted } of commits) {
    if (!promoted || !inForce || promoted.term === inForce.term + 1) continue
    const what = `term ${promoted.term} of ${promoted.replicaId} follows term ${inForce.term}`
    yield { what, term: promoted.term, at, events: [event] }
  }
}

const writersAreInForce: Rule = function* writersAreInForce({ commits }) {
  let promotion = commits[0]
  for (const commit of commits) {
    const { event, at, inForce, promoted } = commit
    if (promoted) promotion = commit
    const { writer } = event
    if (!writer || (writer.term === inForce?.term && writer.replicaId === inForce.replicaId)) {
      continue
    }
    const what = `commit ${event.order} was written by ${nameOf(writer)}, under ${nameOf(inForce)}`
    yield { what, term: writer.term, at, events: promotion ? [promotion.event, event] : [event] }
  }
}

const leasesMoveByLeaders: Rule = function* leasesMoveByLeaders({ commits }) {
  for (const { event, at, steps } of commits) {
    if (event.writer) continue
    for (const step of steps) {
      const { jobId, before, after } = step
      const isRefenced = before && after && before.fence !== after.fence
      const isRenewed = before && after && before.leaseExpiresAt !== after.leaseExpiresAt
      if (!givesLease(step) && !endsLease(step) && !isRefenced && !isRenewed) continue
      const from = before ? `${before.state}, fence ${before.fence}` : 'nothing'
      const to = after ? `${after.state}, fence ${after.fence}` : 'nothing'
      const what = `job ${jobId} went from ${from} to ${to} in commit ${event.order} without a term`
      yield { what, jobId, at, events: [event] }
    }
  }
}

/** What a client's door never touches: executors, and what is kept of their work. A job that retries another takes its
 *  progress over. */
const leadersOwn = new Set(['executors', 'attempts', 'late_reports', 'progress'])

const executorsAreWrittenByLeaders: Rule = function* executorsAreWrittenByLeaders({ commits }) {
  for (const { event, at, steps } of commits) {
    if (event.writer) continue
    const retries = new Set(steps.filter(isRetry).map(({ jobId }) => jobId))
    for (const { table, kind, row } of event.changes) {
      if (!leadersOwn.has(table)) continue
      const { job_id, executor_id } = row
      if (table === 'progress' && kind === 'insert' && retries.has(job_id ?? '')) continue
      const of = [job_id && `job ${job_id}`, executor_id && `executor ${executor_id}`]
      const what = `${kind} of ${table} (${of.filter(Boolean).join(', ') || 'all'}) in commit ${event.order} without a term`
      const about = {
        ...(job_id && { jobId: job_id }),
        ...(executor_id && { executorId: executor_id }),
      }
      yield { what, ...about, at, events: [event] }
    }
  }
}

function isRetry({ before, after }: Step): boolean {
  return before === undefined && after !== undefined && after.retryOf !== ''
}

const answersNeverGoBack: Rule = function* answersNeverGoBack({ ops }) {
  for (const { op, newest } of termsThatWentBack(ops)) {
    const { executorId } = op.ask
    const what = `executor ${executorId} was told term ${termNamedBy(op)} after ${newest.ask.executorId} was told ${termNamedBy(newest)}`
    yield { what, executorId, at: op.answer.at, events: eventsOf(newest, op) }
  }
}

export const oneWriter = [
  termsRiseByOne,
  writersAreInForce,
  leasesMoveByLeaders,
  executorsAreWrittenByLeaders,
  answersNeverGoBack,
]

function nameOf(leadership: Leadership | undefined): string {
  return leadership ? `term ${leadership.term} of ${leadership.replicaId}` : 'no term'
}

/** What executors are told rises, too: a heartbeat that is sent after another was answered is never told an
 *  older term. */
export function* termsThatWentBack(ops: Op[]) {
  const asked = doneOps(ops, 'heartbeat')
  const answered = asked.toSorted((a, b) => a.answer.at - b.answer.at)
  let newest: Done<'heartbeat'> | undefined
  let next = 0
  for (const op of asked) {
    for (; (answered[next]?.answer.at ?? Infinity) < op.invoke.at; next += 1) {
      const earlier = answered[next]
      if (earlier && (!newest || termNamedBy(earlier) > termNamedBy(newest))) newest = earlier
    }
    if (newest && termNamedBy(op) < termNamedBy(newest)) yield { op, newest }
  }
}
