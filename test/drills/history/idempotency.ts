import { addTo, type Step } from './indexed.ts'
import { doneOps, fateOf, isKind, type Op, placedBy, type SubmitItem } from './requests.ts'
import type { JobRow } from './rows.ts'
import { eventsOf, type Rule } from './violation.ts'

/** Invariant 4, the other way round: a job is there only because somebody asked for it, once for each key. */

const answersAreOfTheJobAskedFor: Rule = function* answersAreOfTheJobAskedFor({ ops, jobs }) {
  for (const op of doneOps(ops, 'submit')) {
    for (const [index, { id }] of placedBy(op).entries()) {
      const item = op.ask.items[index]
      const inserted = jobs.get(id)?.[0]
      if (!item || !inserted?.after || signatureOf(item) === signatureOf(inserted.after)) continue
      const what = `${op.invoke.op} asked for ${signatureOf(item)} and was told of job ${id}: ${signatureOf(inserted.after)}`
      const events = [...eventsOf(op), inserted.commit.event]
      yield { what, jobId: id, at: op.answer.at, events }
    }
  }
}

const aJobIsNewOnce: Rule = function* aJobIsNewOnce({ ops }) {
  const creators = new Map<string, Op>()
  for (const op of doneOps(ops, 'submit')) {
    for (const { id, created } of placedBy(op)) {
      if (!created) continue
      const earlier = creators.get(id)
      creators.set(id, op)
      if (!earlier) continue
      const what = `job ${id} was answered as new to ${earlier.invoke.op} and to ${op.invoke.op}`
      yield { what, jobId: id, at: op.answer.at, events: eventsOf(earlier, op) }
    }
  }
}

const oneJobForEachKey: Rule = function* oneJobForEachKey({ commits }) {
  const holders = new Map<string, { step: Step; isFree: boolean }>()
  for (const { event, at, steps } of commits) {
    for (const step of steps) {
      const row = step.after
      // A job that is retried hands its key on.
      const given = step.before?.key
      if (given !== undefined && row && row.key === undefined) {
        const holder = holders.get(`${row.queue} ${given}`)
        if (holder?.step.jobId === step.jobId) holder.isFree = true
      }
      if (row?.key === undefined) continue
      const key = `${row.queue} ${row.key}`
      const holder = holders.get(key)
      const isHolder = holder?.step.jobId === step.jobId
      if (isHolder) holder.isFree = row.state === 'cancelled'
      if (step.before) continue
      if (holder && !isHolder && !holder.isFree) {
        const what = `jobs ${holder.step.jobId} and ${step.jobId} have the key ${row.key} of queue ${row.queue}`
        yield { what, jobId: step.jobId, at, events: [holder.step.commit.event, event] }
      }
      holders.set(key, { step, isFree: row.state === 'cancelled' })
    }
  }
}

/** Jobs with the same queue, kind and key are told apart by the ids that were answered; each of the others
 *  needs a submit of its own whose fate is unknown. */
const jobsWereAskedFor: Rule = function* jobsWereAskedFor({ ops, jobs }) {
  const answered = new Set<string>()
  const unknown = new Map<string, number>()
  const refused = new Map<string, Op[]>()
  const retried = new Set<string | undefined>()
  for (const op of ops) {
    if (isKind(op, 'retry') && fateOf(op) !== 'refused') retried.add(op.ask.jobId)
    if (!isKind(op, 'submit')) continue
    const fate = fateOf(op)
    const placed = fate === 'done' ? placedBy(op) : []
    for (const { id } of placed) answered.add(id)
    for (const [index, item] of op.ask.items.entries()) {
      const signature = signatureOf(item)
      if (fate === 'refused') addTo(refused, signature, op)
      else if (!placed[index]) unknown.set(signature, (unknown.get(signature) ?? 0) + 1)
    }
  }
  for (const [jobId, [inserted]] of jobs) {
    if (!inserted?.after || inserted.before || answered.has(jobId)) continue
    const { retryOf } = inserted.after
    if (retryOf !== '' && (retried.has(retryOf) || retried.has(undefined))) continue
    const signature = signatureOf(inserted.after)
    const left = unknown.get(signature) ?? 0
    unknown.set(signature, left - 1)
    if (left > 0) continue
    const tries = refused.get(signature)?.slice(0, 1) ?? []
    const why = tries[0] ? `${tries[0].invoke.op} was refused` : 'nobody asked for it'
    const { at, event } = inserted.commit
    const what = `job ${jobId} was made for ${signature}, though ${why}`
    yield { what, jobId, at, events: [...eventsOf(...tries), event] }
  }
}

export const idempotency = [
  answersAreOfTheJobAskedFor,
  aJobIsNewOnce,
  oneJobForEachKey,
  jobsWereAskedFor,
]

function signatureOf({ queue, kind, key }: SubmitItem | JobRow): string {
  return `${kind} in queue ${queue} with ${key === undefined ? 'no key' : `key ${key}`}`
}
