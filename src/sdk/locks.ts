import { randomUUID } from 'node:crypto'
import { type Clock, systemClock } from '../clock.ts'
import type {
  Lock,
  LockAcquire,
  LockAnswer,
  LockForceRelease,
  LockHolder,
  LockHolding,
  LockList,
  LockListQuery,
  LockReleased,
} from '../contract/locks.ts'
import { ApiError, UnavailableError } from './errors.ts'
import { HeldLock, type HoldOptions, type Renewal } from './held-lock.ts'
import type { Call, CallReplica } from './transport.ts'

/** For how long a call to a replica is tried. */
export interface LockTries {
  /** Longest that one try may take, milliseconds. */
  timeoutMs?: number
  /** How long to go on trying while no replica serves; 0: each replica once. */
  patienceMs?: number
  signal?: AbortSignal | undefined
}

const waitSliceMs = 20_000
const tryMs = 10_000
/** A replica that stops ends waits early. */
const betweenSlicesMs = 100
/** Longest that one replica may take to confirm that a lock is held, and the pause before all are asked again. */
const confirmMs = 2_000
const betweenTriesMs = 200

/** Named locks (docs/locks.md), with a token of role operator or admin. */
export class Locks {
  readonly #call: CallReplica
  readonly #clock: Clock
  readonly #patienceMs: number

  constructor(call: CallReplica, patienceMs: number, clock: Clock = systemClock) {
    this.#call = call
    this.#patienceMs = patienceMs
    this.#clock = clock
  }

  /** Acquires a lock, or waits for it, `wait_ms` in all. Its `valid_ms` count from when the request was sent that was
   *  answered: after a wait, renew at once. Throws ApiError lock_held, invalid_request, … */
  async acquire(
    name: string,
    { wait_ms = 0, ...acquire }: LockAcquire,
    { signal }: Pick<LockTries, 'signal'> = {},
  ): Promise<LockHolding> {
    const until = this.#clock.monotonic() + wait_ms
    for (;;) {
      const leftMs = Math.max(0, Math.ceil(until - this.#clock.monotonic()))
      const sliceMs = Math.min(waitSliceMs, leftMs)
      try {
        return await this.#post<LockHolding>(
          name,
          'acquire',
          { ...acquire, wait_ms: sliceMs },
          {
            timeoutMs: sliceMs + tryMs,
            patienceMs: sliceMs + this.#patienceMs,
            signal,
          },
        )
      } catch (error) {
        if (!isHeld(error) || this.#clock.monotonic() >= until) throw error
      }
      await this.#clock.sleep(betweenSlicesMs, signal)
      signal?.throwIfAborted()
    }
  }

  /** Shows that its holder is alive. Throws ApiError stale_fence: the lock is not, or no longer, held. */
  renew(name: string, holder: LockHolder, tries: LockTries = {}): Promise<LockHolding> {
    return this.#post(name, 'renew', holder, tries)
  }

  /** Gives it up. Throws ApiError stale_fence: somebody else has had it since. */
  release(name: string, holder: LockHolder, tries: LockTries = {}): Promise<LockReleased> {
    return this.#post(name, 'release', holder, tries)
  }

  /** Takes it away from whoever has it. Give the fence that you saw: sent again, it then hits no successor. Throws
   *  ApiError not_found, stale_fence. */
  async forceRelease(name: string, body: LockForceRelease): Promise<Lock> {
    const isRepeatable = body.fence !== undefined
    const { lock } = await this.#post<LockAnswer>(name, 'force-release', body, { isRepeatable })
    return lock
  }

  /** Who has it, or had it last. Throws ApiError not_found. */
  async get(name: string): Promise<Lock> {
    const { lock } = await this.#call<LockAnswer>({ path: `/v1/locks/${encodeURIComponent(name)}` })
    return lock
  }

  /** A page of locks, by name: those held and stale, or those of one state. */
  list(query: Partial<LockListQuery> = {}): Promise<LockList> {
    const search = new URLSearchParams()
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) search.set(name, String(value))
    }
    return this.#call({ path: `/v1/locks?${search}` })
  }

  /** Acquires a lock and keeps it, renewing in the background, until it is released or lost: heed its `stopping`.
   *  Throws ApiError lock_held after `waitMs`, and UnavailableError. */
  async hold(name: string, options: HoldOptions): Promise<HeldLock> {
    const { owner, bootId = randomUUID(), ttlMs, waitMs = 0, jobId, metadata, signal } = options
    const process = { owner, boot_id: bootId }
    const wanted = { ...process, ttl_ms: ttlMs, wait_ms: waitMs, job_id: jobId, metadata }
    const { fence } = await this.acquire(name, wanted, { signal })
    const holder = { ...process, fence }
    try {
      const renewal = await this.#confirm(name, holder, signal)
      return new HeldLock(this, holder, renewal, options.graceMs, this.#clock)
    } catch (error) {
      // If nobody hears it, the lock goes stale by itself.
      await this.release(name, holder, { timeoutMs: confirmMs, patienceMs: 0 }).catch(
        () => undefined,
      )
      throw error
    }
  }

  /** The answer to an acquire says not when it was given: the wait is in it. Each replica is asked once, and then anew
   *  with a time of its own: what is counted from the first try might be over when the last is answered. */
  async #confirm(
    name: string,
    holder: LockHolder,
    signal: AbortSignal | undefined,
  ): Promise<Renewal> {
    const until = this.#clock.monotonic() + this.#patienceMs
    const tries = { timeoutMs: confirmMs, patienceMs: 0, signal }
    for (;;) {
      const sentAt = this.#clock.monotonic()
      try {
        return { sentAt, holding: await this.renew(name, holder, tries) }
      } catch (error) {
        if (!(error instanceof UnavailableError) || this.#clock.monotonic() >= until) throw error
      }
      await this.#clock.sleep(betweenTriesMs, signal)
      signal?.throwIfAborted()
    }
  }

  #post<T>(name: string, verb: string, body: object, more: Partial<Call>): Promise<T> {
    const path = `/v1/locks/${encodeURIComponent(name)}/${verb}`
    return this.#call<T>({ method: 'POST', path, body, ...more })
  }
}

function isHeld(error: unknown): boolean {
  return error instanceof ApiError && error.code === 'lock_held'
}
