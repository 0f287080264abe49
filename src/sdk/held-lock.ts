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
interface Renewal {
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
 * took it away. Not guaranteed: anything while this process itself is stopped or suspended, which only the fence
 * guards against.
 */
export class HeldLock {
  readonly name: string
  readonly fence: number
  readonly #locks: Locks
  readonly #holder: LockHolder
  readonly #clock: Clock
  readonly #validMs: number
  readonly #renewMs: number
  readonly #graceMs: number
  readonly #stopping = new AbortController()
  readonly #over = new AbortController()
  readonly #released = new AbortController()
  readonly #kept: Promise<void>
  #replaced = new AbortController()
  #sentAt: number
  #end: LockEnd | undefined

  constructor(
    locks: Locks,
    holder: LockHolder,
    { sentAt, holding }: Renewal,
    graceMs = Number.POSITIVE_INFINITY,
    clock: Clock,
  ) {
    this.name = holding.name
    this.fence = holder.fence
    this.#locks = locks
    this.#holder = holder
    this.#clock = clock
    this.#validMs = holding.valid_ms
    this.#renewMs = holding.renew_ms
    this.#graceMs = Math.min(graceMs, holding.valid_ms * mostGrace)
    this.#sentAt = sentAt
    void this.#guard(this.#overAt)
    this.#kept = this.#keep()
  }

  /** Aborts when what needs the lock must begin to stop. */
  get stopping(): AbortSignal {
    return this.#stopping.signal
  }

  /** Aborts when nothing that needs the lock may run any more. */
  get over(): AbortSignal {
    return this.#over.signal
  }

  /** Undefined: it is held. */
  get end(): LockEnd | undefined {
    return this.#end
  }

  /** Gives it up, if it is held; then nothing aborts any more. Throws UnavailableError where no replica took it: the
   *  lock goes stale by itself. */
  async release(): Promise<void> {
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
    let dueAt = this.#sentAt + this.#renewMs
    while (!ended.aborted) {
      await this.#clock.sleep(dueAt - this.#clock.monotonic(), ended)
      if (ended.aborted) return
      const isRenewed = await this.#renew(ended)
      dueAt = isRenewed
        ? this.#sentAt + this.#renewMs
        : this.#clock.monotonic() + this.#validMs * pause
    }
  }

  async #renew(ended: AbortSignal): Promise<boolean> {
    const sentAt = this.#clock.monotonic()
    try {
      // Each replica once: which of the tries was answered, and so when it was sent, is not told.
      const timeoutMs = Math.ceil(this.#validMs * longestTry)
      await this.#locks.renew(this.name, this.#holder, { timeoutMs, patienceMs: 0, signal: ended })
    } catch (error) {
      if (isStale(error)) this.#lose()
      return false
    }
    if (ended.aborted) return false
    this.#sentAt = sentAt
    void this.#guard(this.#overAt)
    return true
  }

  /** Somebody else may have it by now: what is left of the time is all the grace there is. */
  #lose(): void {
    const overAt = Math.min(this.#clock.monotonic() + this.#graceMs, this.#overAt)
    this.#stop('lost')
    void this.#guard(overAt)
  }

  get #overAt(): number {
    return this.#sentAt + this.#validMs * (1 - margin)
  }

  /** Waits for the last moment, as it is known now; a renewal, and the release, put another in its place. */
  async #guard(overAt: number): Promise<void> {
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
