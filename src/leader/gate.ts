import type { Term } from './term.ts'

/**
 * The in-process switch that routes and sweeps ask.
 *
 *   standby ──recovering(term)──▶ recovering ──open(term)──▶ active
 *      ▲                              │                        │
 *      └────────── close(term) ───────┴──────── draining ◀─────┘ handOver(term)
 *                                                                     any ──drain()──▶ draining, for good
 *
 * Guarantees: recovering, open, handOver and close do nothing for a term that is not the gate's own, so a late
 * call of an old tenure never touches a newer one; every ask checks the trust window first.
 * Not guaranteed: that nobody else leads at this instant. The gate is a courtesy (fail fast, say where
 * to go). The guarantee is in SQL: executor writes carry `fence`, leader writes carry `term`.
 */
export type ControllerState = 'standby' | 'recovering' | 'active' | 'draining'

export class Gate {
  #state: ControllerState = 'standby'
  #term: Term | undefined
  #isStopping = false

  get state(): ControllerState {
    if (this.#isStopping) return 'draining'
    return this.#term?.isTrusted() ? this.#state : 'standby'
  }

  /** The term of the replica that holds the lock, recovering or active. */
  get leading(): Term | undefined {
    const { state } = this
    return state === 'recovering' || state === 'active' ? this.#term : undefined
  }

  /** The term under which executors may be served now. */
  get serving(): Term | undefined {
    return this.state === 'active' ? this.#term : undefined
  }

  recovering(term: Term): void {
    const isHandingOver = this.#term === term && this.#state === 'draining'
    if (this.#isStopping || isHandingOver || !term.isTrusted()) return
    this.#term = term
    this.#state = 'recovering'
  }

  open(term: Term): void {
    if (this.#term === term && this.#state === 'recovering' && term.isTrusted()) {
      this.#state = 'active'
    }
  }

  close(term: Term): void {
    if (this.#term !== term) return
    this.#term = undefined
  }

  /** Serves nobody under this term any more, which is about to be given up. */
  handOver(term: Term): void {
    if (this.#term === term) this.#state = 'draining'
  }

  /** For good: this replica stops. */
  drain(): void {
    this.#isStopping = true
  }
}
