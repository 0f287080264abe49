import type { LeaseEnd } from '../domain/lease.ts'

type Listener = (ends: LeaseEnd[]) => void

/** Tells those who care, after the commit, that leases have ended. What they do with it is a shortcut:
 *  each also looks for itself. */
export class LeaseEnds {
  readonly #listeners: Listener[] = []

  subscribe(listener: Listener): void {
    this.#listeners.push(listener)
  }

  announce(ends: LeaseEnd[]): void {
    if (ends.length === 0) return
    for (const listener of this.#listeners) listener(ends)
  }
}
