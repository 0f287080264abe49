import type { Clock } from '../clock.ts'
import { AppError } from '../errors.ts'
import type { Queryable } from '../sql/pool.ts'
import { type FoundToken, findTokens, listRevokedTokens } from '../sql/tokens.ts'
import { Batcher } from './batcher.ts'

interface Cached {
  token: FoundToken
  validUntil: number
}

/** A revocation is in force everywhere within this time. */
const trustMs = 1_000
/** Asked for in the background once it is this old; and as often while somebody waits by a token. */
const freshMs = 500
/** How far back each question reaches; a longer silence empties the cache instead. */
const reachMs = 60_000
const mostTokens = 100_000

/** Tokens in memory, so that a request costs no query. A token can only change by being revoked or by
 *  expiring, so one small question about recent revocations keeps them all true; nothing is asked
 *  while nobody comes or waits. Unknown tokens are always looked up: a new one is good at once, everywhere. */
export class TokenCache {
  readonly #db: Queryable
  readonly #clock: Clock
  readonly #lookups: Batcher<string, { token: FoundToken | undefined }>
  #tokens = new Map<string, Cached>()
  #askedAt = Number.NEGATIVE_INFINITY
  #asking: Promise<void> | undefined
  readonly #watched = new Map<string, Set<() => void>>()
  #reviews: NodeJS.Timeout | undefined

  constructor(db: Queryable, clock: Clock) {
    this.#db = db
    this.#clock = clock
    this.#lookups = new Batcher({
      maxWeight: 1_000,
      maxWaiting: 10_000,
      flush: (ids) => this.#lookUp(ids),
    })
  }

  /** Whether it was found good of late. */
  has(id: string): boolean {
    return this.#tokens.has(id)
  }

  /** The token with this id if it is valid now. */
  async find(id: string): Promise<FoundToken | undefined> {
    if (this.#age > reachMs / 2) this.#tokens = new Map()
    if (this.#age > freshMs) this.#ask()
    // An answer is as old as its question, which may have been under way for long.
    for (let tries = 1; this.#age > trustMs; tries += 1) {
      if (tries > 2) throw new AppError('database_unavailable', 'the database is slow to answer')
      this.#ask()
      await this.#asking
    }
    const cached = this.#tokens.get(id)
    if (cached) return this.#clock.monotonic() < cached.validUntil ? cached.token : undefined
    const { token } = await this.#lookups.add(id)
    return token
  }

  /** Tells when this token ends, until the returned function is called: a request that waits was let in only once. */
  watch(id: string, onEnd: () => void): () => void {
    const watches = this.#watched.get(id) ?? new Set()
    this.#watched.set(id, watches.add(onEnd))
    // Without the database nothing can be given to those who wait, either; it is asked again soon.
    this.#reviews ??= setInterval(() => this.#review().catch(() => undefined), freshMs)
    return () => {
      watches.delete(onEnd)
      if (watches.size === 0) this.#watched.delete(id)
      if (this.#watched.size > 0) return
      clearInterval(this.#reviews)
      this.#reviews = undefined
    }
  }

  /** This token has ended. */
  forget(id: string): void {
    this.#tokens.delete(id)
    for (const onEnd of this.#watched.get(id) ?? []) onEnd()
  }

  /** Asks now what was revoked of late. */
  refresh(): void {
    if (this.#tokens.size > 0) this.#ask()
  }

  /** How long ago the question was asked that was answered last. */
  get #age(): number {
    return this.#clock.monotonic() - this.#askedAt
  }

  #ask(): void {
    this.#asking ??= this.#askRevoked().finally(() => {
      this.#asking = undefined
    })
    // Those who must wait for the answer also get its error; for the others it is asked again.
    this.#asking.catch(() => undefined)
  }

  async #askRevoked(): Promise<void> {
    const askedAt = this.#clock.monotonic()
    for (const id of await listRevokedTokens(this.#db, reachMs)) this.forget(id)
    this.#askedAt = askedAt
  }

  async #review(): Promise<void> {
    // A request may have asked just now.
    if (this.#age > freshMs / 2) this.#ask()
    await this.#asking
    const ids = [...this.#watched.keys()]
    const tokens = await Promise.all(ids.map((id) => this.find(id)))
    for (const [index, id] of ids.entries()) if (!tokens[index]) this.forget(id)
  }

  async #lookUp(ids: string[]) {
    const askedAt = this.#clock.monotonic()
    const found = new Map((await findTokens(this.#db, ids)).map((token) => [token.id, token]))
    if (this.#tokens.size > mostTokens) this.#tokens = new Map()
    return ids.map((id) => {
      const token = found.get(id)
      if (!token?.is_valid) return { token: undefined }
      // Cached only if a later question about revocations covers the time since.
      if (askedAt - this.#askedAt < trustMs) {
        const validUntil = askedAt + (token.valid_ms ?? Number.POSITIVE_INFINITY)
        this.#tokens.set(id, { token, validUntil })
      }
      return { token }
    })
  }
}
