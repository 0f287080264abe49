import type { Clock } from '../clock.ts'
import type { LockHolder, LockHolding } from '../contract/locks.ts'
import { ApiError } from './errors.ts'
import type { Locks } from './locks.ts'

export interface HoldOptions {
  /** Who has it, across restarts: a new process of the same owner takes over at once. What may be started twice, and
   *  must not run twice, needs a random one each time. */
  owner: string
  /** Which process of the owner. Default: a random one. */
  bootId?: string
  /** 1 s to 24 h, milliseconds. */
  ttlMs: number
  /** How long to wait for it, milliseconds; default 0. */
  waitMs?: number
  /** It ends with this job. */
  jobId?: string | undefined
  metadata?: unknown
  /** Between `stopping` and `over`, milliseconds; at most, and by default, a fifth of the time that a renewal is
   *  good for. */
  graceMs?: number | undefined
  /** Gives up waiting. */
  signal?: AbortSignal | undefined
}

/** Why a lock is held no longer: `lost`, somebody else has or may have it; `unconfirmed`, no replica has answered a
 *  renewal in time. */
export type LockEnd = 'lost' | 'unconfirmed'

/** A renewal that was answered: when it was sent, by the local clock, and what it said. */
export interface Renewal {
  sentAt: number
  holding: LockHolding
}

/** Shares of the time for which a renewal is good: what is kept for clocks that run at different rates and timers that
 *  run late; the most that may go to the grace; the longest try; and the pause after one that failed. */
const margin = 1 / 5
const mostGrace = 1 / 5
const longestTry = 1 / 8
const pause = 1 / 30
/** How long a release is tried: if nobody serves it, the lock goes stale by itself. */
const releaseMs = 5_000

/**
 * A named lock that this process holds. It renews in the background, and counts by the local monotonic clock from when
 * the last renewal that was answered was sent (invariant 8):
 *
 *   held ──renewal refused, or not answered until grace and margin are left──▶ stopping ──▶ over
 *
 * Guaranteed: `over` aborts before another may have the lock, unless an operator or a new process of the same owner
 * took it away, or the job ended that it was tied to: that is heard at the next renewal. Not guaranteed: anything while this process itself is stopped or suspended, which only the fence
 * guards against.
 */
export class HeldLock {
  readonly name: string
  readonly fence: number
  readonly #locks: Locks
  readonly #holder: LockHolder
  readonly #clock: Clock
  readonly #wantedGraceMs: number
  readonly #stopping = new AbortController()
  readonly #over = new AbortController()
  readonly #released = new AbortController()
  readonly #kept: Promise<void>
  #replaced = new AbortController()
  #renewal: Renewal
  /** By when whoever uses a lock that was taken away must have stopped. */
  #lostAt = Number.POSITIVE_INFINITY
  #end: LockEnd | undefined

  constructor(
    locks: Locks,
    holder: LockHolder,
    renewal: Renewal,
    graceMs = Number.POSITIVE_INFINITY,
    clock: Clock,
  ) {
    this.name = renewal.holding.name
    this.fence = holder.fence
    this.#locks = locks
    this.#holder = holder
    this.#clock = clock
    this.#wantedGraceMs = graceMs
    this.#renewal = renewal
    void this.#guard()
    this.#kept = this.#keep()
  }

  /** Aborts when what needs the lock must begin to stop. Asked for, it is up to date by the clock; kept, it aborts when
   *  a timer fires, which in a process that was stalled may be late. */
  get stopping(): AbortSignal {
    this.#heedClock()
    return this.#stopping.signal
  }

  /** Aborts when nothing that needs the lock may run any more; as `stopping`. */
  get over(): AbortSignal {
    this.#heedClock()
    return this.#over.signal
  }

  /** Undefined: it is held. */
  get end(): LockEnd | undefined {
    this.#heedClock()
    return this.#end
  }

  /** Gives it up, if it is held; then nothing aborts any more. Throws UnavailableError where no replica took it: the
   *  lock goes stale by itself. */
  async release(): Promise<void> {
    this.#heedClock()
    this.#released.abort()
    this.#replaced.abort()
    await this.#kept
    if (this.#end === 'lost') return
    await this.#locks
      .release(this.name, this.#holder, { timeoutMs: releaseMs, patienceMs: releaseMs })
      .catch(ignoreStale)
  }

  /** Renews until the lock is given up, or must be. */
  async #keep(): Promise<void> {
    const ended = AbortSignal.any([this.#released.signal, this.#stopping.signal])
    let dueAt = this.#dueAt
    while (!ended.aborted) {
      await this.#clock.sleep(dueAt - this.#clock.monotonic(), ended)
      if (ended.aborted) return
      const isRenewed = await this.#renew(ended)
      dueAt = isRenewed ? this.#dueAt : this.#clock.monotonic() + this.#validMs * pause
    }
  }

  async #renew(ended: AbortSignal): Promise<boolean> {
    const sentAt = this.#clock.monotonic()
    try {
      // Each replica once: which of the tries was answered, and so when it was sent, is not told.
      const timeoutMs = Math.ceil(this.#validMs * longestTry)
      const tries = { timeoutMs, patienceMs: 0, signal: ended }
      const holding = await this.#locks.renew(this.name, this.#holder, tries)
      this.#heedClock()
      if (ended.aborted) return false
      this.#renewal = { sentAt, holding }
    } catch (error) {
      if (isStale(error)) this.#lose()
      return false
    }
    void this.#guard()
    return true
  }

  /** Somebody else may have it by now: what is left of the time is all the grace there is. */
  #lose(): void {
    this.#lostAt = this.#clock.monotonic() + this.#graceMs
    this.#stop('lost')
    void this.#guard()
  }

  get #validMs(): number {
    return this.#renewal.holding.valid_ms
  }

  get #graceMs(): number {
    return Math.min(this.#wantedGraceMs, this.#validMs * mostGrace)
  }

  get #dueAt(): number {
    return this.#renewal.sentAt + this.#renewal.holding.renew_ms
  }

  get #overAt(): number {
    return Math.min(this.#renewal.sentAt + this.#validMs * (1 - margin), this.#lostAt)
  }

  /** Timers run late in a process that was stalled: the clock decides. */
  #heedClock(): void {
    if (this.#released.signal.aborted) return
    const now = this.#clock.monotonic()
    const overAt = this.#overAt
    if (now >= overAt - this.#graceMs) this.#stop('unconfirmed')
    if (now >= overAt) this.#over.abort()
  }

  /** Waits for the last moment, as it is known now; a renewal, and the release, put another in its place. */
  async #guard(): Promise<void> {
    const overAt = this.#overAt
    this.#replaced.abort()
    this.#replaced = new AbortController()
    const { signal: replaced } = this.#replaced
    await this.#clock.sleep(overAt - this.#graceMs - this.#clock.monotonic(), replaced)
    if (replaced.aborted) return
    this.#stop('unconfirmed')
    await this.#clock.sleep(overAt - this.#clock.monotonic(), replaced)
    if (!replaced.aborted) this.#over.abort()
  }

  #stop(end: LockEnd): void {
    this.#end ??= end
    this.#stopping.abort()
  }
}

function isStale(error: unknown): boolean {
  return error instanceof ApiError && error.code === 'stale_fence'
}

function ignoreStale(error: unknown): void {
  if (!isStale(error)) throw error
}
