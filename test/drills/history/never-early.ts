import { toleranceMs } from './clocks.ts'
import { isFaulty, readFaults } from './faults.ts'
import {
  type Attempt,
  addTo,
  type Commit,
  epochKey,
  findLease,
  type Indexed,
  leaseKey,
  ownedKey,
} from './indexed.ts'
import { type Done, doneOps, heldBy, isKind, type OpOf, registeredBy } from './requests.ts'
import { eventsOf, type Rule } from './violation.ts'

/** Invariant 7: leases may end late, never early. An executor that registered anew has given its own up. */

/** Since its lease was given or last renewed it never stopped asking for longer than three heartbeats (leases
 *  last no less): then it must not lose it, whether or not anybody was there to answer. Time runs from the
 *  commit that gave it: who hears of it late has less of it left. An executor that the drill itself harmed
 *  meanwhile is not judged. */
const healthyKeepTheirWork: Rule = function* healthyKeepTheirWork(h) {
  const { asked, renewed } = contacts(h)
  const timings = readTimings(h)
  const faults = readFaults(h.events)
  for (const attempt of lost(h)) {
    const { jobId, fence, executorId, commit } = attempt
    const key = ownedKey(attempt, attempt)
    const heartbeatMs = timings.get(executorId)?.heartbeatMs
    const givenAt = findLease(h, attempt, attempt)?.given.commit.at
    const last = renewed.get(key)?.at(-1)?.invoke.at ?? givenAt
    if (heartbeatMs === undefined || last === undefined) continue
    const beats = (asked.get(key) ?? []).filter(
      ({ invoke }) => invoke.at > last && invoke.at <= commit.at,
    )
    const longest = longestGap([last, ...beats.map(({ invoke }) => invoke.at), commit.at])
    const harmed = [beats[0]?.invoke.actor ?? '', executorId]
    if (longest > 3 * heartbeatMs || isFaulty(faults, harmed, last, commit.at)) continue
    const what = `a healthy executor lost its lease: ${executorId} on job ${jobId}, fence ${fence}; it asked ${beats.length} times in the ${(commit.at - last).toFixed(0)} ms since its lease was given or last renewed, with gaps of at most ${longest.toFixed(0)} ms`
    const events = [...eventsOf(...beats), commit.event]
    yield { what, jobId, executorId, at: commit.at, events }
  }
}

const renewalsLastATtl: Rule = function* renewalsLastATtl(h) {
  const { renewed } = contacts(h)
  const timings = readTimings(h)
  for (const attempt of lost(h)) {
    const { jobId, fence, executorId, commit } = attempt
    const leaseTtlMs = timings.get(executorId)?.leaseTtlMs ?? 0
    const beat = renewed.get(ownedKey(attempt, attempt))?.at(-1)
    const lastedMs = commit.at - (beat?.invoke.at ?? -Infinity)
    if (!beat || lastedMs >= leaseTtlMs - toleranceMs) continue
    const what = `the lease of ${executorId} on job ${jobId}, fence ${fence}, was lost ${lastedMs.toFixed(0)} ms after a heartbeat that renewed it for ${leaseTtlMs} ms`
    yield { what, jobId, executorId, at: commit.at, events: [...eventsOf(beat), commit.event] }
  }
}

const leasesLastUntilTheyExpire: Rule = function* leasesLastUntilTheyExpire(h) {
  for (const { jobId, fence, executorId, commit } of lost(h)) {
    const [lease] = h.leases.get(leaseKey(jobId, fence)) ?? []
    if (lease?.ended?.commit !== commit) continue
    const earlyMs = (lease.ended.before?.leaseExpiresAt ?? 0) - commit.event.committedAt
    if (earlyMs <= toleranceMs) continue
    const what = `the lease of ${executorId} on job ${jobId}, fence ${fence}, was lost ${earlyMs.toFixed(0)} ms before it expired`
    yield { what, jobId, executorId, at: commit.at, events: [commit.event] }
  }
}

const revokedHadEnded: Rule = function* revokedHadEnded(h) {
  for (const op of doneOps(h.ops, 'heartbeat')) {
    const { executorId, epoch } = op.ask
    for (const { jobId, fence } of heldBy(op, 'revoked')) {
      const lease = findLease(h, { jobId, fence }, op.ask)
      const endedAt = lease?.ended?.commit.at ?? Infinity
      // One that was never its own may well be denied.
      if (!lease || endedAt <= op.answer.at + toleranceMs) continue
      const until = lease.ended ? `until commit ${lease.ended.commit.event.order}` : 'to the end'
      const what = `executor ${executorId}, epoch ${epoch}, was told that job ${jobId}, fence ${fence}, is revoked, though it held it ${until}`
      const ended: Commit[] = lease.ended ? [lease.ended.commit] : []
      const commits = [lease.given.commit, ...ended].map(({ event }) => event)
      yield { what, jobId, executorId, at: op.answer.at, events: [...commits, ...eventsOf(op)] }
    }
  }
}

export const neverEarly = [
  healthyKeepTheirWork,
  renewalsLastATtl,
  leasesLastUntilTheyExpire,
  revokedHadEnded,
]

/** Leases that were taken from executors that had not registered anew. */
function* lost({ commits, epochs }: Indexed): Iterable<Attempt> {
  for (const { attempts } of commits) {
    for (const attempt of attempts) {
      if (attempt.outcome !== 'lost') continue
      const newer = epochs.get(epochKey(attempt.executorId, attempt.epoch + 1))
      if (newer && newer.event.order <= attempt.commit.event.order) continue
      yield attempt
    }
  }
}

/** By lease and owner: heartbeats that list it, and those of them that were answered `held`. */
function contacts({ ops }: Indexed) {
  const asked = new Map<string, OpOf<'heartbeat'>[]>()
  const renewed = new Map<string, Done<'heartbeat'>[]>()
  for (const op of ops) {
    if (!isKind(op, 'heartbeat')) continue
    for (const listed of op.ask.listed) addTo(asked, ownedKey(listed, op.ask), op)
  }
  for (const op of doneOps(ops, 'heartbeat')) {
    for (const held of heldBy(op, 'held')) addTo(renewed, ownedKey(held, op.ask), op)
  }
  return { asked, renewed }
}

function readTimings({ ops }: Indexed) {
  return new Map(doneOps(ops, 'register').map((op) => [op.ask.executorId, registeredBy(op)]))
}

function longestGap(instants: number[]): number {
  return Math.max(0, ...instants.slice(1).map((at, index) => at - (instants[index] ?? at)))
}
