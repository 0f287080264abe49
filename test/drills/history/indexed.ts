import { toMonotonic } from './clocks.ts'
import type { ActedEvent, Change, CommitEvent, HistoryEvent, ReplicaEvent } from './events.ts'
import { joinOps, type Op } from './requests.ts'
import { type AttemptRow, type EffectRow, type JobRow, toAttempt, toEffect, toJob } from './rows.ts'

/** A history, read once: what every rule asks for, by job, lease, executor and term. */
export interface Indexed {
  /** In the order of asking. */
  ops: Op[]
  /** In the order of commits. */
  commits: Commit[]
  jobs: Map<string, Step[]>
  /** By `leaseKey`: who held the job under this fence. More than one: see invariant 2. */
  leases: Map<string, Lease[]>
  /** By `leaseKey`. */
  attempts: Map<string, Attempt[]>
  /** By `effectKey`: what became of one act in one job's ledger. */
  effects: Map<string, EffectStep[]>
  /** What was done outside, in its order. */
  acts: ActedEvent[]
  /** The commit that raised an executor to an epoch, by `epochKey`. */
  epochs: Map<string, Commit>
  terms: TermLife[]
  replicas: ReplicaEvent[]
  events: HistoryEvent[]
}

export interface Leadership {
  term: number
  replicaId: string
}

export interface Commit {
  event: CommitEvent
  /** By the monotonic clock. */
  at: number
  /** The leader row as it stood before; undefined: nobody had ever led. */
  inForce: Leadership | undefined
  promoted: Leadership | undefined
  steps: Step[]
  attempts: Attempt[]
  effects: EffectStep[]
}

/** One change of one job's row. */
export interface Step {
  commit: Commit
  jobId: string
  /** undefined: inserted. */
  before: JobRow | undefined
  /** undefined: deleted. */
  after: JobRow | undefined
}

/** One change of one act in a job's ledger. */
export interface EffectStep {
  commit: Commit
  jobId: string
  key: string
  /** undefined: inserted. */
  before: EffectRow | undefined
  after: EffectRow
}

export interface Lease {
  jobId: string
  fence: number
  executorId: string
  epoch: number
  given: Step
  ended: Step | undefined
}

export type Attempt = AttemptRow & { commit: Commit }

/** A term, from its promotion to the next. */
export interface TermLife extends Leadership {
  promoted: Commit
  /** When its recovery was recorded: the gate opens after that. undefined: never. */
  recoveredAt: number | undefined
  /** When the next was promoted. */
  until: number
}

export const leaseKey = (jobId: string, fence: number) => `${jobId} ${fence}`
export const effectKey = (jobId: string, key: string) => `${jobId} ${key}`
export const epochKey = (executorId: string, epoch: number) => `${executorId} ${epoch}`

/** A lease in the hands of somebody, theirs or not. */
export function ownedKey(
  held: { jobId: string; fence: number },
  owner: { executorId: string; epoch: number },
): string {
  return `${leaseKey(held.jobId, held.fence)} ${epochKey(owner.executorId, owner.epoch)}`
}

export function indexHistory(events: HistoryEvent[]): Indexed {
  const h: Indexed = {
    ops: joinOps(events),
    commits: [],
    jobs: new Map(),
    leases: new Map(),
    attempts: new Map(),
    effects: new Map(),
    acts: events.filter((event) => event.type === 'acted').sort((a, b) => a.at - b.at),
    epochs: new Map(),
    terms: [],
    replicas: events.filter((event) => event.type === 'replica').sort((a, b) => a.at - b.at),
    events,
  }
  const toAt = toMonotonic(events.filter((event) => event.type === 'clock'))
  const commits = events.filter((event) => event.type === 'commit')
  for (const event of commits.sort((a, b) => a.order - b.order)) {
    const last = h.commits.at(-1)
    const commit: Commit = {
      event,
      at: toAt(event.committedAt),
      inForce: last?.promoted ?? last?.inForce,
      promoted: undefined,
      steps: [],
      attempts: [],
      effects: [],
    }
    h.commits.push(commit)
    for (const change of event.changes) apply(h, commit, change)
  }
  return h
}

function apply(h: Indexed, commit: Commit, change: Change) {
  const { table, row } = change
  if (table === 'jobs') applyToJobs(h, commit, change)
  if (change.kind === 'delete') return
  if (table === 'leader') promote(h, commit, row)
  if (table === 'terms') noteRecovery(h, commit, row)
  if (table === 'executors') {
    const key = epochKey(row.executor_id ?? '', Number(row.epoch))
    if (!h.epochs.has(key)) h.epochs.set(key, commit)
  }
  if (table === 'effects') applyToEffects(h, commit, row)
  if (table === 'attempts') {
    const attempt = { ...toAttempt(row), commit }
    commit.attempts.push(attempt)
    addTo(h.attempts, leaseKey(attempt.jobId, attempt.fence), attempt)
  }
}

function promote(h: Indexed, commit: Commit, row: Change['row']) {
  const leadership = { term: Number(row.term), replicaId: row.replica_id ?? '' }
  commit.promoted = leadership
  const last = h.terms.at(-1)
  if (last) last.until = Math.min(last.until, commit.at)
  h.terms.push({ ...leadership, promoted: commit, recoveredAt: undefined, until: Infinity })
}

/** `recover` ends with the commit that records its phases, and the gate opens after it. */
function noteRecovery(h: Indexed, commit: Commit, row: Change['row']) {
  const life = h.terms.at(-1)
  if (!life || life.term !== Number(row.term) || life.replicaId !== row.replica_id) return
  const isRecorded = row.recovery != null && row.recovery !== '[]'
  if (isRecorded) life.recoveredAt ??= commit.at
}

function applyToJobs(h: Indexed, commit: Commit, { kind, row }: Change) {
  // A delete that names no row was a TRUNCATE.
  const ids = row.id == null ? [...h.jobs.keys()] : [row.id]
  for (const jobId of ids) {
    const steps = h.jobs.get(jobId) ?? []
    const before = steps.at(-1)?.after
    if (row.id == null && !before) continue
    const after = kind === 'delete' ? undefined : toJob(row, before)
    const step = { commit, jobId, before, after }
    steps.push(step)
    h.jobs.set(jobId, steps)
    commit.steps.push(step)
    if (endsLease(step)) endLease(h, step)
    if (after && givesLease(step)) {
      const { fence, executorId, epoch } = after
      const lease = { jobId, fence, executorId, epoch, given: step, ended: undefined }
      addTo(h.leases, leaseKey(jobId, fence), lease)
    }
  }
}

function applyToEffects(h: Indexed, commit: Commit, row: Change['row']) {
  const jobId = row.job_id ?? ''
  const key = row.key ?? ''
  const before = h.effects.get(effectKey(jobId, key))?.at(-1)?.after
  const step = { commit, jobId, key, before, after: toEffect(row) }
  addTo(h.effects, effectKey(jobId, key), step)
  commit.effects.push(step)
}

function endLease(h: Indexed, step: Step) {
  const lease = h.leases.get(leaseKey(step.jobId, step.before?.fence ?? 0))?.at(-1)
  if (lease) lease.ended = step
}

export function givesLease({ before, after }: Step): boolean {
  return after?.state === 'leased' && !(before?.state === 'leased' && isSameLease(before, after))
}

export function endsLease({ before, after }: Step): boolean {
  return before?.state === 'leased' && !(after?.state === 'leased' && isSameLease(before, after))
}

/** Into another stage. */
export function moves({ before, after }: Step): boolean {
  return before !== undefined && after !== undefined && after.move !== before.move
}

function isSameLease(a: JobRow, b: JobRow): boolean {
  return a.fence === b.fence && a.executorId === b.executorId && a.epoch === b.epoch
}

/** The lease that this executor held under this fence, if it ever did. */
export function findLease(
  h: Indexed,
  held: { jobId: string; fence: number },
  owner: { executorId: string; epoch: number },
): Lease | undefined {
  return h.leases
    .get(leaseKey(held.jobId, held.fence))
    ?.find((lease) => lease.executorId === owner.executorId && lease.epoch === owner.epoch)
}

export function addTo<Key, Value>(lists: Map<Key, Value[]>, key: Key, value: Value) {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}
