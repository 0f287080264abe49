import type { Clock } from '../clock.ts'
import { limits } from '../contract/common.ts'
import type { Assignment, Poll } from '../contract/executors.ts'
import { endByUndelivered } from '../domain/lease.ts'
import { AppError } from '../errors.ts'
import type { Gate } from '../leader/gate.ts'
import type { Term } from '../leader/term.ts'
import type { Log } from '../log.ts'
import { type ClaimedRow, findHeldUnderPoll, listPolledLeases } from '../sql/claims.ts'
import type { Doors } from '../sql/doors.ts'
import { sqlState } from '../sql/failure.ts'
import { endLeasesIfFenced, lockOffersIfUnshown } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import { Claims } from './claims.ts'
import type { Engagements } from './engagements.ts'
import { type DirectoryEntry, type ExecutorDirectory, isOpenToWork } from './executor-directory.ts'
import type { InFlight } from './in-flight.ts'
import type { Lane } from './lane.ts'
import type { LeaseEnds } from './lease-ends.ts'
import type { Offers } from './offers.ts'
import type { ReadyClasses } from './ready-classes.ts'
import { requireServing } from './serving.ts'
import type { Waiter, WaitList } from './wait-list.ts'
import {
  dealSlots,
  EagerPolls,
  type Group,
  type WaitingPoll,
  WaitingPolls,
  withoutBusy,
} from './waiting-polls.ts'

export interface PollsOptions {
  db: Queryable
  doors: Doors
  gate: Gate
  clock: Clock
  log: Log
  directory: ExecutorDirectory
  ready: ReadyClasses
  offers: Offers
  waitList: WaitList
  executorCalls: InFlight
  /** A claim is one, until it is answered. */
  engagements: Engagements
  departures: Engagements
  leaseEnds: LeaseEnds
  /** Shared with registration: no claim is under way while an epoch is raised. */
  lane: Lane
  pollWaitMs: number
  pollWaitCapMs: number
  leaseTtlMs: number
}

/** Payloads and checkpoints of one claim: what stands round them fits into the rest of the cap. */
const answerBytes = limits.bodyBytes - 512 * 1_024

/** Polls and the claims that answer them. Waiting polls cost no query; whatever makes a job claimable marks its class
 *  ready, and one flush at a time serves everybody who waits for a ready class, which also makes counted limits exact. */
export class Polls {
  readonly #o: PollsOptions
  readonly #claims: Claims
  readonly #waiting = new WaitingPolls()
  /** Whether a claim may serve it now. */
  readonly #isOpen = (entry: DirectoryEntry) =>
    isOpenToWork(entry) &&
    !this.#o.engagements.has(entry.executorId) &&
    !this.#o.departures.has(entry.executorId)
  readonly #eager = new EagerPolls()
  /** Classes that were claimed from in vain since the last safety scan. */
  readonly #inVain = new Set<number>()
  #isFlushing = false
  #isInDoubt = false

  constructor(options: PollsOptions) {
    options.directory.onOvertaken((executorId) => {
      this.cutOff(executorId, new AppError('stale_epoch', `${executorId} has a newer epoch`))
    })
    this.#o = options
    this.#claims = new Claims(options)
  }

  /** Work for an executor, at once or within `wait_ms`. */
  async poll(executorId: string, body: Poll, gone: AbortSignal): Promise<Assignment[]> {
    const { directory, waitList } = this.#o
    requireServing(this.#o.gate)
    await directory.get(executorId, body.epoch)
    // An earlier poll of this executor may be about to be answered; its work counts first.
    await this.#o.engagements.free(executorId)
    const pollId = body.poll_id ?? null
    if (pollId !== null && pollId === directory.find(executorId)?.lastPollId) {
      const held = await this.#resend(executorId, body.epoch, pollId)
      if (held.length > 0) return this.#toAssignments(held)
    }
    // Asked after every wait: the term may have ended meanwhile, and with it what waited (invariant 12),
    // or the epoch.
    requireServing(this.#o.gate)
    const entry = directory.current(executorId, body.epoch)
    this.#find(executorId)?.waiter.settle(undefined)
    const waiter: Waiter<ClaimedRow[]> = waitList.add({
      group: 'poll',
      waitMs: this.#waitMs(body.wait_ms),
      gone,
      onLeave: (left) => this.#waiting.leave(entry, left),
    })
    if (!waiter.isSettled) {
      const poll = this.#waiting.enter({ entry, max: body.max, pollId, waiter })
      // One that nothing is ready for changes nothing for the others.
      if (this.#eager.enter(poll, this.#o.ready, this.#isOpen)) this.#kick()
    }
    return this.#toAssignments((await waiter.answer) ?? [])
  }

  /** Ends the poll that waits for this executor under the epoch before. */
  cutOff(executorId: string, why: AppError): void {
    this.#find(executorId)?.waiter.fail(why)
  }

  /** Executors that were degraded and busy may be so no more. */
  lookAgain(): void {
    for (const entry of this.#waiting.entries()) entry.isBusy = false
  }

  /** The database has another epoch of this executor, or may have: what memory has of it goes. */
  forget(executorId: string, why: AppError): void {
    this.cutOff(executorId, why)
    this.#o.directory.forget(executorId)
  }

  /** These classes may have something to claim now. */
  markReady(classIds: Iterable<number>): void {
    for (const classId of classIds) this.#o.ready.mark(classId)
    this.#kick()
  }

  get isWaitedFor(): boolean {
    return !this.#waiting.isEmpty
  }

  /** Nobody may tell when there is something to claim in these: the safety scan looks. */
  doubt(classIds: number[]): void {
    for (const id of classIds) this.#inVain.add(id)
  }

  /** The classes that the safety scan has to look at: that somebody waits for, or asked for in vain. */
  takeDoubtful(): number[] {
    const doubtful = [...new Set([...this.#waiting.classes(), ...this.#inVain])]
    this.#inVain.clear()
    return doubtful
  }

  #find(executorId: string): WaitingPoll | undefined {
    const entry = this.#o.directory.find(executorId)
    return entry && this.#waiting.find(entry)
  }

  /** A poll whose answer was lost gets what is still held under it. */
  async #resend(executorId: string, epoch: number, pollId: string): Promise<ClaimedRow[]> {
    const held = await findHeldUnderPoll(this.#o.db, executorId, epoch, pollId)
    requireServing(this.#o.gate)
    for (const { job_id, fence, offered } of held) {
      if (offered) this.#o.offers.add(executorId, job_id, fence)
    }
    return held
  }

  #waitMs(asked = this.#o.pollWaitMs): number {
    const waitMs = Math.min(asked, this.#o.pollWaitCapMs)
    return waitMs - Math.random() * Math.min(2_000, waitMs / 10)
  }

  #kick(): void {
    if (!this.#isFlushing && !this.#o.ready.isEmpty) void this.#flushAll()
  }

  /** Never rejects. */
  async #flushAll(): Promise<void> {
    this.#isFlushing = true
    // What arrives in the same turn of the event loop is served together.
    await Promise.resolve()
    for (let isDone = false; !isDone; ) {
      const groups = this.#waiting.groups(this.#o.ready, this.#isOpen)
      const term = this.#o.gate.serving
      isDone = groups.length === 0 || !term
      if (term) for (const group of groups) await this.#flushIfReady(term, group)
      this.#eager.unhold(this.#o.ready, (entry) => !isDone && this.#isOpen(entry))
    }
    this.#isFlushing = false
  }

  /** One job must not cost a claim for each group that waits for it: the first may have drained it. */
  async #flushIfReady(term: Term, { classIds, polls }: Group): Promise<void> {
    const ready = this.#o.ready.within(new Set(classIds))
    if (ready.length > 0) await this.#flush(term, { classIds: ready, polls })
  }

  async #flush(term: Term, group: Group): Promise<void> {
    try {
      await this.#o.lane.run(() => this.#serve(term, group))
    } catch (error) {
      this.#o.log.warn({ err: error }, 'a claim failed; the safety scan will try again')
      this.#o.ready.drained(group.classIds, this.#o.ready.now())
      this.doubt(group.classIds)
      // What the server has refused was certainly not done.
      if (sqlState(error) === undefined) this.#isInDoubt = true
    }
  }

  /** A claim whose COMMIT was not answered may have given jobs to executors that were told nothing:
   *  from here on they are offers like any other, which inventory finds, or the same poll_id. */
  async settleDoubt(): Promise<void> {
    if (!this.#isInDoubt) return
    this.#isInDoubt = false
    try {
      await this.#o.lane.run(async () => {
        this.#o.offers.load(await listPolledLeases(this.#o.db), this.#o.directory)
      })
    } catch (error) {
      this.#isInDoubt = true
      throw error
    }
  }

  async #serve(term: Term, group: Group): Promise<void> {
    const { ready, leaseTtlMs } = this.#o
    const polls = group.polls.filter(
      ({ entry, waiter }) => !waiter.isSettled && this.#isOpen(entry),
    )
    if (polls.length === 0) return
    const asOf = ready.now()
    const disengage = this.#o.engagements.begin(polls.map(({ entry }) => entry.executorId))
    // What is claimed for polls that a hand-over has ended goes back before the term does.
    const end = this.#o.executorCalls.begin()
    for (const { waiter } of polls) waiter.hold()
    try {
      const bounds = { leaseTtlMs, maxBytes: answerBytes }
      const { rows, isDrained } = await this.#claims.claim(
        term,
        group.classIds,
        bounds,
        async (tx) => dealSlots(await withoutBusy(tx, polls)),
      )
      if (isDrained) ready.drained(group.classIds, asOf)
      // What there is may all be held, or resting: nobody tells when it is not any more.
      if (isDrained && rows.length === 0) this.doubt(group.classIds)
      await this.#deliver(term, polls, rows)
    } finally {
      for (const { waiter } of polls) waiter.unhold()
      disengage()
      end()
    }
  }

  /** Answers the polls that were given work; what was meant for a client that hung up goes back. */
  async #deliver(term: Term, polls: WaitingPoll[], rows: ClaimedRow[]): Promise<void> {
    const byExecutor = Map.groupBy(rows, (row) => row.executor_id)
    const undelivered: ClaimedRow[] = []
    for (const { entry, pollId, waiter } of polls) {
      const claimed = byExecutor.get(entry.executorId)
      if (!claimed) continue
      if (waiter.isSettled) {
        undelivered.push(...claimed)
        continue
      }
      entry.lastPollId = pollId
      for (const { job_id, fence } of claimed) this.#o.offers.add(entry.executorId, job_id, fence)
      waiter.settle(claimed)
    }
    if (undelivered.length > 0) await this.giveBack(term, undelivered)
  }

  /** Offers that did not arrive are claimable again, and nothing was spent. */
  async giveBack(term: Term, offers: { job_id: string; fence: number }[]): Promise<number> {
    const ends = await this.#o.doors.asLeader(term, async (tx) => {
      const ends = (await lockOffersIfUnshown(tx, offers)).map(endByUndelivered)
      if (ends.length > 0) await endLeasesIfFenced(tx, ends)
      return ends
    })
    this.#o.leaseEnds.announce(ends)
    return ends.length
  }

  #toAssignments(rows: ClaimedRow[]): Assignment[] {
    return rows.map((row) => ({
      job_id: row.job_id,
      fence: row.fence,
      attempt: row.attempt,
      queue: row.queue,
      kind: row.kind,
      stage: row.stage,
      payload: row.payload,
      results: row.results ?? {},
      checkpoint: row.checkpoint,
      lease_ttl_ms: this.#o.leaseTtlMs,
      run_timeout_ms: row.run_timeout_ms,
      on_silence: row.on_silence,
      traceparent: row.traceparent,
    }))
  }
}
