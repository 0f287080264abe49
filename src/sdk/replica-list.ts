/** The time from when a replica became the first choice until it was left. */
export interface Stay {
  readonly url: string
  /** Aborts when it is over: what is parked there would wait for nothing. */
  readonly over: AbortSignal
}

/** The URLs of the replicas, and which one to ask. Sticky: the last that served stays the first choice,
 *  for every connection that shares the list. */
export class ReplicaList {
  readonly #urls: string[]
  #at = 0
  #end!: AbortController
  #current!: Stay

  constructor(urls: string[]) {
    if (urls.length === 0) throw new TypeError('at least one replica URL is needed')
    this.#urls = urls.map((url) => url.replace(/\/+$/, ''))
    this.#goTo(0)
  }

  get length(): number {
    return this.#urls.length
  }

  get current(): Stay {
    return this.#current
  }

  /** A request of this stay was not served: go on to where the active replica is said to be, if that is
   *  in this list, else to the next. `isGone`: it got no answer at all; then also the only URL there is
   *  begins a new stay, behind which may be another replica. Nothing moves if another request has
   *  already moved on. */
  leave(
    stay: Stay,
    { isGone, activeUrl }: { isGone: boolean; activeUrl?: string | undefined },
  ): void {
    if (stay !== this.#current || (this.length === 1 && !isGone)) return
    const active = activeUrl === undefined ? -1 : this.#urls.indexOf(activeUrl.replace(/\/+$/, ''))
    const left = this.#end
    this.#goTo(active >= 0 && active !== this.#at ? active : (this.#at + 1) % this.length)
    left.abort()
  }

  #goTo(at: number): void {
    this.#at = at
    this.#end = new AbortController()
    this.#current = { url: this.#urls[at] as string, over: this.#end.signal }
  }
}
