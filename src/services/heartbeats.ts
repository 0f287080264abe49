import { jittered } from '../backoff.ts'
import type { Clock } from '../clock.ts'
import { limits } from '../contract/common.ts'
import type { Heartbeat, HeartbeatAnswer } from '../contract/executors.ts'
import { isFinal } from '../domain/job.ts'
import { AppError, invalid } from '../errors.ts'
import type { Gate } from '../leader/gate.ts'
import type { Term } from '../leader/term.ts'
import type { Log } from '../log.ts'
import { tellCancels } from '../sql/cancels.ts'
import type { Doors } from '../sql/doors.ts'
import { type HeardExecutor, touchExecutorsIfCurrent } from '../sql/executors.ts'
import { type ExtendedLease, extendLeasesIfHeld, type HeldLease } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import { recordProgressIfHeld } from '../sql/progress.ts'
import { findStandings, type JobStanding } from '../sql/reports.ts'
import { Batcher, busy } from './batcher.ts'
import { recordHeard } from './executor-changes.ts'
import type { ExecutorDirectory } from './executor-directory.ts'
import { isJobId, toJson } from './json.ts'
import type { Offers } from './offers.ts'
import type { Polls } from './polls.ts'
import { requireServing } from './serving.ts'
import type { Stalls } from './stalls.ts'

export interface HeartbeatsOptions {
  doors: Doors
  gate: Gate
  clock: Clock
  log: Log
  directory: ExecutorDirectory
  offers: Offers
  polls: Polls
  stalls: Stalls
  heartbeatMs: number
  leaseTtlMs: number
}

type Owner = { executor_id: string; epoch: number }

interface Beat {
  owner: Owner
  receivedAt: number
  seq: number | undefined
  listed: HeldLease[]
  told: (HeldLease & { progress: string })[]
  /** What became of each lease that was listed, by its key; of those that others hold just now, nothing yet. */
  found: Map<string, Found>
  /** Once it has been flushed: nothing newer had been heard before. */
  wasLatest?: boolean
}

/** Renewed, and to be stopped for this reason if there is one; or not its own any more. */
type Found = { cancel: string | undefined } | { revoked: string }

/** What one batch wrote and read. */
interface Written {
  extended: Set<string>
  /** Why, by job. */
  cancels: Map<string, string>
  standings: Map<string, JobStanding>
  current: Map<string, HeardExecutor>
}

const rowBytes = 1_000

/** How long a heartbeat waits for rows that others hold. Then it is answered without them: that somebody holds a row is
 *  not that executors are not heard, unless it is for so long that a lease may end of it. */
const busyMs = 500

/** Heartbeats: leases that are listed are renewed, offers that are not go back. */
export class Heartbeats {
  readonly #o: HeartbeatsOptions
  readonly #beats: Batcher<Beat, HeartbeatAnswer>

  constructor(options: HeartbeatsOptions) {
    this.#o = options
    this.#beats = new Batcher({
      weigh: ({ listed, told }) =>
        rowBytes * (1 + listed.length) + sum(told.map(({ progress }) => progress.length)),
      maxWeight: 5_000_000,
      maxWaiting: 100_000_000,
      // DESIGN 8: they come all the time. What waits for one is at most the first effect of an assignment.
      spacingMs: 20,
      flush: (beats) => this.#flush(beats),
    })
  }

  /** Throws not_found or stale_epoch for an executor that is not, or no longer, the current one. */
  async beat(executorId: string, body: Heartbeat): Promise<HeartbeatAnswer> {
    requireServing(this.#o.gate)
    const receivedAt = this.#o.clock.monotonic()
    await this.#o.directory.get(executorId, body.epoch)
    const owner = { executor_id: executorId, epoch: body.epoch }
    const listed: HeldLease[] = []
    const told: Beat['told'] = []
    for (const [index, { job_id, fence, progress }] of body.assignments.entries()) {
      const lease = { job_id: job_id.toLowerCase(), fence, ...owner }
      listed.push(lease)
      if (progress === undefined || !isJobId(lease.job_id)) continue
      const text = toJson(progress)
      if (Buffer.byteLength(text) > limits.progressBytes) {
        throw invalid(`assignments.${index}.progress`, `at most ${limits.progressBytes} bytes`)
      }
      told.push({ ...lease, progress: text })
    }
    const beat = { owner, receivedAt, seq: body.seq, listed, told, found: new Map() }
    const answer = await this.#beats.add(beat)
    this.#o.stalls.answered(receivedAt)
    return answer
  }

  async #flush(beats: Beat[]): Promise<(HeartbeatAnswer | AppError | typeof busy)[]> {
    const term = requireServing(this.#o.gate)
    const latest = this.#latestOf(beats)
    const written = await this.#o.doors.asLeader(term, (tx) => this.#write(tx, term, beats, latest))
    for (const { owner, listed } of beats) this.#o.offers.show(owner.executor_id, listed)
    // Whatever a commit of unknown outcome did to them, memory knows by the next beat.
    this.#o.directory.learn([...written.current.values()])
    for (const beat of beats) for (const lease of openOf(beat)) note(beat, lease, written)
    const incomplete = beats.filter(
      (beat) => openOf(beat).length > 0 && written.current.has(ownerKey(beat.owner)),
    )
    const again = new Set(incomplete.filter((beat) => this.#mayWait(beat)))
    for (const beat of incomplete) if (!again.has(beat)) this.#tellHeld(beat, written)
    for (const beat of latest) {
      beat.wasLatest = true
      const entry = this.#o.directory.find(beat.owner.executor_id)
      if (entry?.epoch === beat.owner.epoch) entry.heardSeq = beat.seq ?? entry.heardSeq
      if (!again.has(beat)) this.#giveBackLost(term, beat)
    }
    return beats.map((beat) => (again.has(beat) ? busy : this.#answer(term, beat, written)))
  }

  #mayWait({ receivedAt }: Beat): boolean {
    return this.#o.clock.monotonic() - receivedAt < busyMs
  }

  /** Others hold rows that this heartbeat was to renew, and it is answered without them. */
  #tellHeld(beat: Beat, { standings }: Written): void {
    const open = openOf(beat)
    const left = open.map(({ job_id }) => standings.get(job_id)?.left_ms ?? 0)
    // Nobody's fault who beats: no lease ends of it (invariant 7).
    if (Math.min(...left) < this.#o.leaseTtlMs / 2) this.#o.stalls.note()
    const { executor_id } = beat.owner
    this.#o.log.warn(
      { executor_id, job_id: open[0]?.job_id, leases: open.length },
      'leases were not renewed: another transaction holds their rows',
    )
  }

  /** Without those that were overtaken by a newer one, or are repeated: their inventory may lack what was
   *  given out since, and their progress is old. */
  #latestOf(beats: Beat[]): Beat[] {
    const heard = new Map<string, number>()
    return beats.filter(({ owner, seq, wasLatest }) => {
      if (seq === undefined) return true
      const key = ownerKey(owner)
      const known = heard.get(key) ?? this.#o.directory.find(owner.executor_id)?.heardSeq ?? -1
      if (seq < known || (seq === known && !wasLatest)) return false
      heard.set(key, seq)
      return true
    })
  }

  async #write(tx: Queryable, term: Term, beats: Beat[], latest: Beat[]): Promise<Written> {
    const listed = beats.flatMap(openOf).filter(({ job_id }) => isJobId(job_id))
    const rows = listed.length > 0 ? await extendLeasesIfHeld(tx, listed, this.#o.leaseTtlMs) : []
    const extended = new Set(rows.map(keyOf))
    const cancels = await this.#tellCancels(tx, term, rows)
    // The last word of a batch on each job, of its holder; one statement may write a row only once.
    const words = latest
      .flatMap(({ told, found }) => told.filter((item) => !found.has(keyOf(item))))
      .filter((item) => extended.has(keyOf(item)))
    const told = new Map(words.map((item) => [item.job_id, item]))
    if (told.size > 0) await recordProgressIfHeld(tx, [...told.values()])
    const missing = listed.filter((lease) => !extended.has(keyOf(lease)))
    const standings = new Map<string, JobStanding>()
    if (missing.length > 0) {
      const rows = await findStandings(
        tx,
        missing.map(({ job_id }) => job_id),
      )
      for (const row of rows) standings.set(row.id, row)
    }
    const heard = new Map(beats.map((beat) => [ownerKey(beat.owner), beat.owner]))
    const current = await touchExecutorsIfCurrent(tx, [...heard.values()])
    await recordHeard(tx, current, 'heard')
    const heardNow = new Map(current.map((row) => [ownerKey(row), row]))
    return { extended, cancels, standings, current: heardNow }
  }

  /** Why each of these jobs is to stop, of those that are; on every heartbeat until it is answered (invariant 6). */
  async #tellCancels(tx: Queryable, term: Term, held: ExtendedLease[]) {
    const cancelled = held.filter(({ is_cancelled }) => is_cancelled)
    if (cancelled.length === 0) return new Map<string, string>()
    const judge = { term: term.number, leaseTtlMs: this.#o.leaseTtlMs }
    const told = await tellCancels(tx, judge, cancelled)
    return new Map(told.map(({ job_id, reason }) => [job_id, reason ?? '']))
  }

  #answer(term: Term, beat: Beat, written: Written): HeartbeatAnswer | AppError {
    const executor = written.current.get(ownerKey(beat.owner))
    if (!executor) return this.#refuseStale(beat.owner)
    const answer: HeartbeatAnswer = {
      term: term.number,
      heartbeat_ms: Math.round(jittered(this.#o.heartbeatMs)),
      held: [],
      cancel: [],
      revoked: [],
      drain: executor.is_draining,
      switches: {},
    }
    for (const lease of beat.listed) {
      const found = beat.found.get(keyOf(lease))
      const named = { job_id: lease.job_id, fence: lease.fence }
      if (!found) continue
      if ('revoked' in found) answer.revoked.push({ ...named, reason: found.revoked })
      else answer.held.push(named)
      if ('cancel' in found && found.cancel !== undefined) {
        answer.cancel.push({ ...named, reason: found.cancel })
      }
    }
    return answer
  }

  #refuseStale({ executor_id, epoch }: Owner): AppError {
    const stale = new AppError('stale_epoch', `epoch ${epoch} of ${executor_id} is not current`)
    const { directory, polls } = this.#o
    if (directory.find(executor_id)?.epoch === epoch) polls.forget(executor_id, stale)
    return stale
  }

  /** Not awaited by the heartbeat that found them: they belong to no answer. */
  #giveBackLost(term: Term, beat: Beat): void {
    const { executor_id } = beat.owner
    const lost = this.#o.offers.miss(executor_id, beat.receivedAt)
    if (lost.length === 0) return
    this.#o.polls.giveBack(term, lost).then(
      (offers) => {
        // By now each has gone back, was shown after all, or had ended without a word.
        for (const { job_id, fence } of lost) this.#o.offers.settle(executor_id, job_id, fence)
        this.#o.log.info({ executor_id, offers }, 'lost offers went back')
      },
      (error) => this.#o.log.warn({ err: error }, 'lost offers could not be given back yet'),
    )
  }
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

function ownerKey({ executor_id, epoch }: Owner): string {
  return `${executor_id} ${epoch}`
}

/** With the owner: a fence alone would let one executor's listing pass for another's. */
function keyOf(lease: HeldLease): string {
  return `${lease.job_id} ${lease.fence} ${ownerKey(lease)}`
}

/** The leases of which nothing is known yet. */
function openOf({ listed, found }: Beat): HeldLease[] {
  return found.size === 0 ? listed : listed.filter((lease) => !found.has(keyOf(lease)))
}

/** What a flush found of a lease; nothing, where it is held as it was listed and was not renewed: then another transaction
 *  has its row. */
function note({ found }: Beat, lease: HeldLease, { extended, cancels, standings }: Written): void {
  const key = keyOf(lease)
  const job = standings.get(lease.job_id)
  if (extended.has(key)) found.set(key, { cancel: cancels.get(lease.job_id) })
  else if (!isHeldAs(lease, job)) found.set(key, { revoked: revokedBecause(job) })
}

function isHeldAs({ fence, executor_id, epoch }: HeldLease, job: JobStanding | undefined): boolean {
  return (
    job?.state === 'leased' &&
    job.fence === fence &&
    job.executor_id === executor_id &&
    job.epoch === epoch
  )
}

function revokedBecause(job: JobStanding | undefined): string {
  if (!job) return 'not_found'
  return isFinal(job.state) ? 'already_final' : 'stale_fence'
}
