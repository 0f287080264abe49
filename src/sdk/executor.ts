import { randomUUID } from 'node:crypto'
import { fullJitter } from '../backoff.ts'
import { type Clock, systemClock } from '../clock.ts'
import type { Assignment, HeartbeatAnswer, PollAnswer, Registered } from '../contract/executors.ts'
import { Nudge } from '../nudge.ts'
import { ApiError, isContentRefused, UnavailableError } from './errors.ts'
import type { CallName, ExecutorOptions } from './executor-options.ts'
import { HeldJobs } from './held-jobs.ts'
import { toError } from './json.ts'
import { LeaseCalls } from './lease-calls.ts'
import { leave } from './leave.ts'
import { ReplicaList } from './replica-list.ts'
import { Reporter } from './reporter.ts'
import { Transport } from './transport.ts'

const pollWaitMs = 20_000
const callMs = 2_000
/** How long to look for a replica that registers before saying that there is none. */
const registerMs = 2_000
/** How long reports may still take once every handler has stopped on demand. */
const lastReportsMs = 5_000
const backoff = { baseMs: 500, factor: 2, capMs: 5_000 }
/** Refusals that no other try and no other replica would change. */
const finalCodes = new Set(['unauthenticated', 'forbidden', 'stale_epoch', 'not_found'])
const never = new AbortController().signal

/**
 * Runs jobs. One loop polls, one beats, one reports, each on connections of its own. While the control
 * plane is away the work goes on, and its reports wait. A process of the same executor id that comes
 * later cuts this one off: then `run` throws ApiError stale_epoch, and never registers again.
 */
export class Executor {
  readonly #o: ExecutorOptions
  readonly #clock: Clock
  readonly #polls: Transport
  readonly #beats: Transport
  readonly #leaseCalls: Transport
  readonly #reporter: Reporter
  readonly #held = new HeldJobs((job, reason) =>
    this.#o.onEvent?.({ type: 'told_to_stop', jobId: job.job_id, reason }),
  )
  readonly #beatNow = new Nudge()
  /** Aborted while the control plane wants no new work to be taken. */
  #drain = new AbortController()
  readonly #refused = new AbortController()
  #registered!: Registered
  #calls!: LeaseCalls
  #answeredAt = 0
  #silence: NodeJS.Timeout | undefined

  constructor(options: ExecutorOptions, clock: Clock = systemClock) {
    this.#o = options
    this.#clock = clock
    const replicas = new ReplicaList(options.urls, clock)
    this.#polls = new Transport(replicas, options.token, clock)
    this.#beats = new Transport(replicas, options.token, clock)
    this.#leaseCalls = new Transport(replicas, options.token, clock)
    this.#reporter = new Reporter({
      transport: new Transport(replicas, options.token, clock),
      path: this.#path('report'),
      clock,
      onSettled: (item, result) => {
        this.#held.drop(item)
        this.#o.onEvent?.({ type: 'reported', item, result })
      },
      onServed: () => this.#o.onEvent?.({ type: 'served', call: 'report' }),
      onTrouble: (error) => this.#trouble('report', error),
    })
  }

  /** Registers, and works until `draining` aborts: then it takes no new work, finishes what it holds
   *  deregisters and returns. `stopping` cuts that short: handlers are told to stop, and what they leave is given
   *  back. Throws ApiError if the control plane refuses this executor, and UnavailableError if it was
   *  stopped and could not report what it held. */
  async run(draining: AbortSignal, stopping: AbortSignal = never): Promise<void> {
    const finished = new AbortController()
    const ended = AbortSignal.any([finished.signal, this.#refused.signal])
    const onDrain = () => this.#o.onEvent?.({ type: 'draining', held: this.#held.size })
    const onStop = () => {
      this.#held.stopAll('shutdown')
      this.#held.freed.nudge()
    }
    draining.addEventListener('abort', onDrain, { once: true })
    stopping.addEventListener('abort', onStop, { once: true })
    const work = async () => {
      await this.#poll(AbortSignal.any([draining, stopping, this.#refused.signal]))
      if (stopping.aborted) onStop()
      await this.#untilNothingHeld(stopping)
      finished.abort()
    }
    try {
      await this.#register(AbortSignal.any([draining, stopping]))
      const { epoch, self_fence_ms: selfFenceMs } = this.#registered
      const { executorId } = this.#o
      const [transport, clock] = [this.#leaseCalls, this.#clock]
      this.#calls = new LeaseCalls({ transport, clock, executorId, epoch, selfFenceMs, ended })
      await Promise.all([
        work(),
        this.#beat(ended),
        this.#reporter.run(this.#registered.epoch, ended),
      ])
      await this.#leave()
    } catch (error) {
      if (!draining.aborted && !stopping.aborted) throw error
    } finally {
      draining.removeEventListener('abort', onDrain)
      stopping.removeEventListener('abort', onStop)
      clearTimeout(this.#silence)
      await Promise.all([
        this.#polls.close(),
        this.#beats.close(),
        this.#leaseCalls.close(),
        this.#reporter.close(),
      ])
    }
    if (this.#refused.signal.aborted) throw this.#refused.signal.reason
    if (this.#held.size > 0) {
      throw new UnavailableError(
        `stopped, and nobody took the reports of ${this.#held.size} job(s)`,
      )
    }
  }

  async #register(signal: AbortSignal): Promise<void> {
    const { executorId, queues, labels, capacity } = this.#o
    for (let failures = 0; ; failures += 1) {
      const sentAt = this.#clock.monotonic()
      try {
        this.#registered = await this.#beats.call<Registered>({
          method: 'POST',
          path: '/v1/executors/register',
          body: { executor_id: executorId, queues, labels, capacity },
          timeoutMs: callMs,
          patienceMs: registerMs,
          isRepeatable: true,
          signal,
        })
        this.#answered(sentAt)
        this.#o.onEvent?.({ type: 'registered', epoch: this.#registered.epoch })
        return
      } catch (error) {
        if (signal.aborted || !(error instanceof UnavailableError)) throw error
        this.#trouble('register', error)
        await this.#clock.sleep(fullJitter(failures, backoff), signal)
      }
    }
  }

  async #leave(): Promise<void> {
    if (this.#refused.signal.aborted || this.#held.size > 0) return
    await leave(this.#beats, this.#path('deregister'), this.#registered.epoch)
  }

  async #poll(ended: AbortSignal): Promise<void> {
    let pollId = randomUUID()
    let failures = 0
    while (!ended.aborted) {
      const freed = this.#held.freed.arm()
      const drain = this.#drain.signal
      const max = Math.min((this.#o.capacity ?? 1) - this.#held.size, 500)
      if (max <= 0 || drain.aborted) {
        await this.#clock.sleep(60_000, freed, ended)
        continue
      }
      try {
        const { assignments } = await this.#polls.call<PollAnswer>({
          method: 'POST',
          path: this.#path('poll'),
          body: { epoch: this.#registered.epoch, max, wait_ms: pollWaitMs, poll_id: pollId },
          timeoutMs: pollWaitMs + callMs,
          patienceMs: Number.POSITIVE_INFINITY,
          isRepeatable: true,
          isParked: true,
          signal: AbortSignal.any([ended, drain]),
        })
        pollId = randomUUID()
        failures = 0
        this.#o.onEvent?.({ type: 'served', call: 'poll' })
        for (const job of assignments) this.#start(job)
        // Shows at once what has arrived, so that no offer is taken for lost.
        if (assignments.length > 0) this.#beatNow.nudge()
      } catch (error) {
        if (ended.aborted) return
        // The answer may have been lost: the same poll_id is sent again.
        if (drain.aborted) continue
        this.#trouble('poll', error)
        await this.#clock.sleep(fullJitter(failures++, backoff), ended)
      }
    }
  }

  #start(job: Assignment): void {
    if (this.#held.has(job)) return
    const holder = {
      executorId: this.#o.executorId,
      epoch: this.#registered.epoch,
      calls: this.#calls,
      isUncertain: () => this.#isSilent(),
    }
    this.#o.onEvent?.({ type: 'started', job })
    void this.#held
      .run(job, holder, this.#o.handler)
      .then((item) => item && this.#reporter.add(item))
  }

  async #beat(ended: AbortSignal): Promise<void> {
    let failures = 0
    for (let seq = 0; !ended.aborted; seq += 1) {
      const beatNow = this.#beatNow.arm()
      let pauseMs: number
      const sentAt = this.#clock.monotonic()
      const inventory = this.#held.list()
      try {
        const answer = await this.#beats.call<HeartbeatAnswer>({
          method: 'POST',
          path: this.#path('heartbeat'),
          body: {
            epoch: this.#registered.epoch,
            seq,
            assignments: inventory.map(({ listed }) => listed),
          },
          timeoutMs: callMs,
          // Then with the inventory as it is by then.
          patienceMs: this.#registered.heartbeat_ms / 2,
          isRepeatable: true,
          signal: ended,
        })
        // What was not renewed, because somebody holds its row, is told again.
        const held = new Set(answer.held.map(({ job_id }) => job_id))
        for (const { listed, sent } of inventory) if (held.has(listed.job_id)) sent()
        this.#answered(sentAt)
        this.#heed(answer)
        pauseMs = answer.heartbeat_ms
        failures = 0
      } catch (error) {
        if (ended.aborted) return
        this.#trouble('heartbeat', error)
        // Progress that is refused is not sent again: the leases are worth more.
        if (isContentRefused(error)) for (const { sent } of inventory) sent()
        pauseMs = fullJitter(failures++, backoff)
      }
      await this.#clock.sleep(pauseMs, beatNow, ended)
    }
  }

  #heed({ revoked, cancel, drain }: HeartbeatAnswer): void {
    this.#o.onEvent?.({ type: 'served', call: 'heartbeat' })
    for (const lease of revoked) this.#held.stop(lease, 'revoked')
    for (const lease of cancel) this.#held.cancel(lease, lease.reason)
    if (drain === this.#drain.signal.aborted) return
    if (drain) this.#drain.abort()
    else this.#drain = new AbortController()
    this.#held.freed.nudge()
    this.#o.onEvent?.({ type: 'told_to_drain', drain })
  }

  /** Dated from when the heartbeat was sent: the lease was renewed no earlier than that. */
  #answered(sentAt: number): void {
    this.#answeredAt = sentAt
    clearTimeout(this.#silence)
    const leftMs = sentAt + this.#registered.self_fence_ms - this.#clock.monotonic()
    this.#silence = setTimeout(() => this.#fenceSelf(), leftMs)
  }

  #isSilent(): boolean {
    return this.#clock.monotonic() - this.#answeredAt >= this.#registered.self_fence_ms
  }

  /** Work goes on by default: an hour without a control plane need not cost an hour of work. */
  #fenceSelf(): void {
    this.#held.stopAll('silence', ({ on_silence }) => on_silence === 'abort')
  }

  /** Handlers may take long to stop, and reports for ever while the control plane is away: a stop gives
   *  up on those. When this executor is refused there is nothing left to wait for. */
  async #untilNothingHeld(stopping: AbortSignal): Promise<void> {
    while (this.#held.size > 0 && !this.#refused.signal.aborted) {
      const freed = this.#held.freed.arm()
      const isLast = stopping.aborted && this.#held.running === 0
      await this.#clock.sleep(isLast ? lastReportsMs : 60_000, freed, this.#refused.signal)
      if (isLast && !freed.aborted) return
    }
  }

  /** Only a refusal of this executor is final; anything else passes. */
  #trouble(call: CallName, cause: unknown): void {
    const error = toError(cause)
    this.#o.onEvent?.({ type: 'trouble', call, error })
    if (error instanceof ApiError && finalCodes.has(error.code)) {
      this.#refused.abort(error)
      this.#held.stopAll('revoked')
    }
  }

  #path(call: CallName | 'deregister'): string {
    return `/v1/executors/${encodeURIComponent(this.#o.executorId)}/${call}`
  }
}
