/** The URLs of the replicas, and which one to ask. Sticky: the last that served stays the first choice,
 *  for every connection that shares the list. */
export class ReplicaList {
  readonly #urls: string[]
  #current = 0
  #staying = new AbortController()

  constructor(urls: string[]) {
    if (urls.length === 0) throw new TypeError('at least one replica URL is needed')
    this.#urls = urls.map((url) => url.replace(/\/+$/, ''))
  }

  get length(): number {
    return this.#urls.length
  }

  get current(): string {
    return this.#urls[this.#current] as string
  }

  /** Aborts when the current URL is left: what is parked there would wait for nothing. */
  get staying(): AbortSignal {
    return this.#staying.signal
  }

  /** `url` did not serve: go on to where the active replica is said to be, if that is in this list, else
   *  to the next. Nothing moves if another request has already moved on. */
  leave(url: string, activeUrl?: string): void {
    if (url !== this.current || this.length === 1) return
    const active = activeUrl === undefined ? -1 : this.#urls.indexOf(activeUrl.replace(/\/+$/, ''))
    this.#current =
      active >= 0 && active !== this.#current ? active : (this.#current + 1) % this.#urls.length
    const left = this.#staying
    this.#staying = new AbortController()
    left.abort()
  }
}
