import { toleranceMs } from './clocks.ts'
import { addTo, endsLease, findLease, givesLease, type Lease, leaseKey } from './indexed.ts'
import { assignedBy, type Done, doneOps, heldBy } from './requests.ts'
import { verdicts } from './verdicts.ts'
import { eventsOf, type Rule } from './violation.ts'

/** Invariant 2: by commits first; then what executors were told has to agree with them. */

const fencesNeverFall: Rule = function* fencesNeverFall({ commits }) {
  for (const { event, at, steps } of commits) {
    for (const { jobId, before, after } of steps) {
      if (!before || !after || after.fence >= before.fence) continue
      const what = `the fence of job ${jobId} fell from ${before.fence} to ${after.fence}`
      yield { what, jobId, at, events: [event] }
    }
  }
}

const ownersHaveNewFences: Rule = function* ownersHaveNewFences({ jobs }) {
  for (const [jobId, steps] of jobs) {
    let last: { fence: number; owner: string } | undefined
    for (const step of steps) {
      const { commit, after } = step
      if (!after || !givesLease(step)) continue
      const { fence } = after
      const owner = `${after.executorId}, epoch ${after.epoch}`
      if (last && fence <= last.fence) {
        const what = `job ${jobId} was given to ${owner} under fence ${fence}; ${last.owner} had had ${last.fence}`
        yield { what, jobId, at: commit.at, events: [commit.event] }
      }
      last = { fence: Math.max(fence, last?.fence ?? 0), owner }
    }
  }
}

const leasesEndOnce: Rule = function* leasesEndOnce({ attempts }) {
  for (const [first, second] of attempts.values()) {
    if (!first || !second) continue
    const { jobId, fence, commit } = second
    const what = `job ${jobId} has two attempts under fence ${fence}: ${first.outcome} and ${second.outcome}`
    yield { what, jobId, at: commit.at, events: [first.commit.event, commit.event] }
  }
}

const attemptsAreOfTheLease: Rule = function* attemptsAreOfTheLease({ commits }) {
  for (const { event, at, steps, attempts } of commits) {
    const ended = new Map(steps.filter(endsLease).map((step) => [step.jobId, step.before]))
    for (const { jobId, fence, executorId, epoch, outcome } of attempts) {
      const lease = ended.get(jobId)
      const told = `${executorId}, epoch ${epoch}, fence ${fence}`
      const stood = lease
        ? `${lease.executorId}, epoch ${lease.epoch}, fence ${lease.fence}`
        : 'nobody'
      if (told === stood) continue
      const what = `job ${jobId} ${outcome} for ${told}; its lease was that of ${stood}`
      yield { what, jobId, at, events: [event] }
    }
  }
}

const endsAreRecorded: Rule = function* endsAreRecorded({ commits }) {
  for (const { event, at, steps, attempts } of commits) {
    const recorded = new Set(attempts.map(({ jobId }) => jobId))
    for (const step of steps) {
      if (!endsLease(step) || recorded.has(step.jobId)) continue
      const { jobId, before } = step
      const what = `the lease of ${before?.executorId} on job ${jobId}, fence ${before?.fence}, ended without an attempt`
      yield { what, jobId, at, events: [event] }
    }
  }
}

const assignmentsAreTheOwners: Rule = function* assignmentsAreTheOwners(h) {
  for (const op of doneOps(h.ops, 'poll')) {
    const { executorId, epoch } = op.ask
    for (const { jobId, fence } of assignedBy(op)) {
      const [lease] = h.leases.get(leaseKey(jobId, fence)) ?? []
      if (!lease || findLease(h, { jobId, fence }, op.ask)) continue
      const what = `executor ${executorId}, epoch ${epoch}, was given job ${jobId}, fence ${fence}, which was leased to ${lease.executorId}, epoch ${lease.epoch}`
      const events = [lease.given.commit.event, ...eventsOf(op)]
      yield { what, jobId, executorId, at: op.answer.at, events }
    }
  }
}

const oneIsGivenIt: Rule = function* oneIsGivenIt({ ops }) {
  const given = new Map<string, Done<'poll'>[]>()
  for (const op of doneOps(ops, 'poll')) {
    for (const { jobId, fence } of assignedBy(op)) {
      const key = leaseKey(jobId, fence)
      const [first] = given.get(key) ?? []
      addTo(given, key, op)
      if (!first || first.ask.executorId === op.ask.executorId) continue
      const what = `job ${jobId}, fence ${fence}, was given to ${first.ask.executorId} and to ${op.ask.executorId}`
      yield { what, jobId, at: op.answer.at, events: eventsOf(first, op) }
    }
  }
}

const heldWasHeld: Rule = function* heldWasHeld(h) {
  for (const op of doneOps(h.ops, 'heartbeat')) {
    const { executorId, epoch } = op.ask
    for (const { jobId, fence } of heldBy(op, 'held')) {
      const lease = findLease(h, { jobId, fence }, op.ask)
      if (lease && overlaps(lease, op.invoke.at, op.answer.at)) continue
      const what = `executor ${executorId}, epoch ${epoch}, was told that it holds job ${jobId}, fence ${fence}, which ${lease ? 'it held at another time' : 'was never leased to it'}`
      const commits = [lease?.given, lease?.ended].flatMap((step) => step?.commit.event ?? [])
      const events = [...commits, ...eventsOf(op)]
      yield { what, jobId, executorId, at: op.answer.at, events }
    }
  }
}

export const oneOwner = [
  fencesNeverFall,
  ownersHaveNewFences,
  leasesEndOnce,
  attemptsAreOfTheLease,
  endsAreRecorded,
  assignmentsAreTheOwners,
  oneIsGivenIt,
  heldWasHeld,
  ...verdicts,
]

function overlaps({ given, ended }: Lease, from: number, until: number): boolean {
  const endedAt = ended?.commit.at ?? Infinity
  return given.commit.at <= until + toleranceMs && endedAt >= from - toleranceMs
}
