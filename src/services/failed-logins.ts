import { RateLimiterMemory } from 'rate-limiter-flexible'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'

const windowMs = 60_000
const defaultMostKept = 10_000

export interface FailedLoginsOptions {
  log: Log
  /** Tokens of one address that may fail within a minute. */
  most: number
  /** Addresses and tokens that are told apart; those beyond share one count. Bounds the memory. */
  mostKept?: number
}

/**
 * Counts tokens that were shown in vain. Behind a balancer all executors have one address, and after a failover
 * none of their tokens is in memory: so nobody's failures keep another's token from being looked up, or the
 * executors would lose their leases (invariant 7). Look-ups are batched: who guesses costs the database one small
 * query at a time.
 *
 * A token that is shown again and again is charged to itself, and only once to its address.
 */
export class FailedLogins {
  readonly #log: Log
  readonly #addresses: Window
  readonly #tokens: Window

  constructor({ log, most, mostKept = defaultMostKept }: FailedLoginsOptions) {
    this.#log = log
    this.#addresses = new Window(most, mostKept)
    this.#tokens = new Window(most, mostKept)
  }

  /** Throws too_many_failures for a token that has itself failed too often; asked before it is looked up. */
  async refuseIfSpent(digest: string): Promise<void> {
    refuseFor(await this.#spentMs(digest))
  }

  /** It failed. Throws too_many_failures if its address, or the token itself, had failed too often before. */
  async note(address: string, digest: string): Promise<void> {
    const place = placeOf(address)
    const isNew = !this.#tokens.has(digest)
    const spentMs = (await this.#spentMs(digest)) ?? (await this.#addresses.spentMs(place))
    if (await this.#tokens.spend(digest)) this.#tell(place)
    if (isNew && (await this.#addresses.spend(place))) this.#tell(place)
    refuseFor(spentMs)
  }

  /** Of a token that is told apart: those that share a count do not answer for each other. */
  async #spentMs(digest: string): Promise<number | undefined> {
    return this.#tokens.has(digest) ? await this.#tokens.spentMs(digest) : undefined
  }

  #tell(address: string): void {
    this.#log.warn(
      { address },
      'too many failed logins: wrong tokens are answered 429 for a minute',
    )
  }
}

function refuseFor(ms: number | undefined): void {
  if (ms === undefined) return
  throw new AppError('too_many_failures', 'too many tokens were wrong of late; come back later', {
    retryAfterMs: ms,
  })
}

/** Whoever has an IPv6 address has 2^64 of them. */
function placeOf(address: string): string {
  if (!address.includes(':') || address.includes('.')) return address
  const [left = '', right = ''] = address.split('::')
  const head = left.split(':')
  const tail = right === '' ? [] : right.split(':')
  const zeros = Array.from({ length: Math.max(0, 8 - head.length - tail.length) }, () => '0')
  return [...head, ...zeros, ...tail].slice(0, 4).join(':')
}

const others = 'others'

/** Counts per key, each from its first until a minute later. */
class Window {
  readonly #limiter: RateLimiterMemory
  readonly #most: number
  readonly #mostKept: number
  readonly #kept = new Set<string>()

  constructor(most: number, mostKept: number) {
    this.#most = most
    this.#mostKept = mostKept
    this.#limiter = new RateLimiterMemory({ points: most, duration: windowMs / 1_000 })
  }

  has(key: string): boolean {
    return this.#kept.has(key)
  }

  /** How long until it may spend again; undefined: it may now. */
  async spentMs(key: string): Promise<number | undefined> {
    const count = await this.#limiter.get(this.#nameOf(key))
    const isSpent = count && count.consumedPoints >= this.#most && count.msBeforeNext > 0
    return isSpent ? count.msBeforeNext : undefined
  }

  /** True: that was its last. */
  async spend(key: string): Promise<boolean> {
    const name = this.#nameOf(key)
    const count = await this.#limiter.penalty(name)
    if (!this.#kept.has(name)) {
      this.#kept.add(name)
      setTimeout(() => this.#kept.delete(name), count.msBeforeNext).unref()
    }
    return count.consumedPoints === this.#most
  }

  #nameOf(key: string): string {
    return this.#kept.has(key) || this.#kept.size < this.#mostKept ? key : others
  }
}
