import type { Clock } from '../clock.ts'

/** Why a term ended. `vanished` is written by a successor, for a replica that said nothing. */
export const endReasons = [
  'hand_over',
  'step_down',
  'session_ended',
  'trust_expired',
  'superseded',
  'fenced',
  'recovery_failed',
  'schema_changed',
  'refused',
  'vanished',
] as const
export type EndReason = (typeof endReasons)[number]

/**
 * One tenure of this replica as leader. Trust in it is a deadline on the local monotonic clock (invariant 8),
 * counted from when the last good ping was SENT: a slow success must not lengthen it. Losing the term
 * is an aborted signal and nothing else, and it is final.
 *
 * Not guaranteed: that code already running stops. Its writes are safe because they carry the term.
 */
export class Term {
  readonly number: number
  readonly replicaId: string
  readonly #clock: Clock
  readonly #lost = new AbortController()
  #trustedUntil: number
  #endReason: EndReason | undefined

  constructor(number: number, replicaId: string, clock: Clock, trustedUntil: number) {
    this.number = number
    this.replicaId = replicaId
    this.#clock = clock
    this.#trustedUntil = trustedUntil
  }

  /** Aborts when the term is lost. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  get endReason(): EndReason | undefined {
    return this.#endReason
  }

  get trustedUntil(): number {
    return this.#trustedUntil
  }

  /** What is left of the trust; 0: none. */
  get marginMs(): number {
    return this.lost.aborted ? 0 : Math.max(0, this.#trustedUntil - this.#clock.monotonic())
  }

  /** Asks the clock itself, since timers run late in a stalled process. */
  isTrusted(): boolean {
    if (!this.lost.aborted && this.#clock.monotonic() >= this.#trustedUntil) {
      this.lose('trust_expired')
    }
    return !this.lost.aborted
  }

  /** A ping was answered: trust lasts until `until`. An expired term is not revived. */
  extendTrust(until: number): void {
    if (this.isTrusted() && until > this.#trustedUntil) this.#trustedUntil = until
  }

  lose(reason: EndReason): void {
    if (this.lost.aborted) return
    this.#endReason = reason
    this.#lost.abort()
  }
}
