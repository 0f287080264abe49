import { toleranceMs } from './clocks.ts'
import { findLease, type Indexed, type Step } from './indexed.ts'
import { type Done, doneOps, type Held, heldBy, toRecord } from './requests.ts'
import { eventsOf, type Rule } from './violation.ts'

/** Invariant 6, by what was answered: who asks for a cancel, and who has to heed it, is told the truth. */

const cancelsAreCommitted: Rule = function* cancelsAreCommitted({ ops, jobs }) {
  for (const op of doneOps(ops, 'cancel')) {
    const { jobId } = op.ask
    if (jobId === undefined) continue
    const asked = findCancel(jobs.get(jobId))
    if (asked && asked.commit.at <= op.answer.at + toleranceMs) continue
    const what = `the cancel of job ${jobId} was acknowledged, and was not committed by then`
    yield { what, jobId, at: op.answer.at, events: eventsOf(op) }
  }
}

/** On each heartbeat, as long as it holds the job; but for a section, until that ends or its ceiling passes. */
const holdersAreTold: Rule = function* holdersAreTold(h) {
  const floors = floorsOf(h)
  for (const op of doneOps(h.ops, 'heartbeat')) {
    const cancelled = new Set(heldBy(op, 'cancel').map(({ jobId }) => jobId))
    for (const held of heldBy(op, 'held')) {
      if (cancelled.has(held.jobId) || !mustBeTold(h, held, op, floors)) continue
      const { executorId } = op.ask
      const { jobId, fence } = held
      const what = `${executorId} was heard on job ${jobId}, fence ${fence}, and not told of its cancel`
      const asked = findCancel(h.jobs.get(jobId))?.commit.event
      const events = [...(asked ? [asked] : []), ...eventsOf(op)]
      yield { what, jobId, executorId, at: op.answer.at, events }
    }
  }
}

/** The end of a section is where a cancel that waited applies. */
const endsOfSectionsTell: Rule = function* endsOfSectionsTell(h) {
  for (const op of doneOps(h.ops, 'critical')) {
    const { jobId, fence, enter, executorId } = op.ask
    const { cancel } = toRecord(op.answer.body)
    if (enter || cancel || !isHeldThroughout(h, op.ask, op)) continue
    const asked = findCancel(h.jobs.get(jobId))
    if (!asked || asked.commit.at > op.invoke.at - toleranceMs) continue
    const what = `${executorId} ended its critical section of job ${jobId}, fence ${fence}, and was not told of the cancel that had waited`
    yield {
      what,
      jobId,
      executorId,
      at: op.answer.at,
      events: [asked.commit.event, ...eventsOf(op)],
    }
  }
}

export const told = [cancelsAreCommitted, holdersAreTold, endsOfSectionsTell]

type Asked = Done<'heartbeat'> | Done<'critical'>

/** The step that wrote it down. */
function findCancel(steps: Step[] = []): Step | undefined {
  return steps.find(({ after }) => after && after.cancelRequestedAt !== '')
}

function isHeldThroughout(h: Indexed, held: Held, { ask, invoke, answer }: Asked): boolean {
  const lease = findLease(h, held, ask)
  if (!lease || lease.given.commit.at > invoke.at - toleranceMs) return false
  return (lease.ended?.commit.at ?? Infinity) > answer.at + toleranceMs
}

function mustBeTold(h: Indexed, held: Held, op: Done<'heartbeat'>, floors: number[]): boolean {
  const asked = findCancel(h.jobs.get(held.jobId))
  if (!asked || asked.commit.at > op.invoke.at - toleranceMs) return false
  if (!isHeldThroughout(h, held, op)) return false
  return !sectionsOf(h, held, floors).some(
    ({ from, until }) => from <= op.answer.at + toleranceMs && until >= op.invoke.at - toleranceMs,
  )
}

/** When a cancel had to wait, by the monotonic clock. */
function sectionsOf(h: Indexed, { jobId, fence }: Held, floors: number[]) {
  const sections: { from: number; until: number }[] = []
  const steps = h.jobs.get(jobId) ?? []
  let entered: Step | undefined
  for (const [index, step] of steps.entries()) {
    const { after, commit } = step
    const isIn = after?.criticalFence === fence && after.fence === fence
    if (!isIn || after.cancelToldAt !== '') continue
    if (entered?.after?.criticalEnteredAt !== after.criticalEnteredAt) entered = step
    // The ceiling starts over with each floor: until then nobody could end the section.
    const enteredAt = entered?.commit.at ?? commit.at
    const last = Math.max(enteredAt, ...floors.filter((at) => at >= enteredAt))
    const endedAt = steps[index + 1]?.commit.at ?? Infinity
    const until = Math.min(endedAt, last + after.criticalCeilingMs)
    sections.push({ from: commit.at, until })
  }
  return sections
}

/** When the deadlines of all leases were moved. */
function floorsOf({ commits }: Indexed): number[] {
  const floors: number[] = []
  let last: string | null | undefined
  for (const { event, at } of commits) {
    for (const { table, row } of event.changes) {
      const floor = row.deadline_floor_at
      if (table !== 'terms' || floor === undefined || floor === last) continue
      last = floor
      floors.push(at)
    }
  }
  return floors
}
