import { type Clock, systemClock } from '../clock.ts'

/** The time from when a replica became the first choice until it was left. */
export interface Stay {
  readonly url: string
  /** Aborts when it is over: what is parked there would wait for nothing. */
  readonly over: AbortSignal
}

/** Why a request was not served. */
export interface Unanswered {
  /** It got no answer at all: behind the only URL there is may be another replica next. */
  isGone: boolean
  /** Nobody so much as refused it in time. */
  isSilent: boolean
  /** Where the active replica is said to be. */
  activeUrl?: string | undefined
}

/** A replica that was silent is not asked again for so long, while another answers at all: it costs a timeout, in
 *  which its successor may have come up. A trust window: by then one that is frozen leads no longer. */
const avoidMs = 2_000

/** The URLs of the replicas, and which one to ask. Sticky: the last that served stays the first choice,
 *  for every connection that shares the list. */
export class ReplicaList {
  readonly #urls: string[]
  readonly #clock: Clock
  readonly #silentUntil: number[]
  #at = 0
  #end!: AbortController
  #current!: Stay

  constructor(urls: string[], clock: Clock = systemClock) {
    if (urls.length === 0) throw new TypeError('at least one replica URL is needed')
    this.#urls = urls.map((url) => url.replace(/\/+$/, ''))
    this.#silentUntil = urls.map(() => 0)
    this.#clock = clock
    this.#goTo(0)
  }

  get length(): number {
    return this.#urls.length
  }

  get current(): Stay {
    return this.#current
  }

  /** A request of this stay was not served: go on to where the active replica is said to be, if that is
   *  in this list, else to the next. False: there is none better than this one, so ask it again in a while.
   *  Nothing moves if another request has already moved on. */
  leave(stay: Stay, { isGone, isSilent, activeUrl }: Unanswered): boolean {
    if (stay !== this.#current) return true
    if (isSilent) this.#silentUntil[this.#at] = this.#clock.monotonic() + avoidMs
    const next = this.#next(activeUrl) ?? (isGone ? (this.#at + 1) % this.length : undefined)
    if (next === undefined) return false
    const left = this.#end
    this.#goTo(next)
    left.abort()
    return true
  }

  /** Whom to ask instead; nobody, where all others were silent just now. */
  #next(activeUrl: string | undefined): number | undefined {
    const now = this.#clock.monotonic()
    const active = activeUrl?.replace(/\/+$/, '')
    const others = this.#urls
      .slice(1)
      .map((_, index) => (this.#at + 1 + index) % this.length)
      .filter((at) => (this.#silentUntil[at] ?? 0) <= now)
    return others.find((at) => this.#urls[at] === active) ?? others[0]
  }

  #goTo(at: number): void {
    this.#at = at
    this.#end = new AbortController()
    this.#current = { url: this.#urls[at] as string, over: this.#end.signal }
  }
}
