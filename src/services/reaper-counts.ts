import type { Reaper } from '../contract/cluster.ts'
import { type Deferral, deferrals, type LeaseEnd, type Tier, tiers } from '../domain/lease.ts'
import type { Gate } from '../leader/gate.ts'
import type { Term } from '../leader/term.ts'

/** What a lease's end by its own executor is not; and moves whose owners are gone. */
type ReaperTier = Tier | 'transition_expired'
const reaperTiers: ReaperTier[] = [
  ...tiers.filter((tier) => tier !== 'report'),
  'transition_expired',
]

/** What this replica has taken from executors since its term began. */
export class ReaperCounts {
  readonly #gate: Gate
  #term: Term | undefined
  #taken = new Map<ReaperTier, number>()
  #deferred = new Map<Deferral, number>()

  constructor(gate: Gate) {
    this.#gate = gate
  }

  taken(ends: readonly Pick<LeaseEnd, 'tier' | 'outcome'>[]): void {
    this.#begin()
    // What an executor that leaves has given back was not taken from it.
    const taken = ends.filter(({ tier, outcome }) => tier !== 'deregistered' || outcome === 'lost')
    for (const { tier } of taken) this.#count(tier, 1)
  }

  /** Moves that outside actors owned beyond their ceiling. */
  expired(transitions: number): void {
    this.#begin()
    this.#count('transition_expired', transitions)
  }

  /** The deadlines of all leases were moved. */
  deferred(reason: Deferral): void {
    this.#begin()
    this.#deferred.set(reason, (this.#deferred.get(reason) ?? 0) + 1)
  }

  /** Null: this replica does not lead. */
  read(): Reaper | null {
    if (!this.#gate.leading) return null
    this.#begin()
    const of = (tier: ReaperTier) => this.#taken.get(tier) ?? 0
    return {
      tiers: Object.fromEntries(reaperTiers.map((tier) => [tier, of(tier)])),
      deferrals: Object.fromEntries(deferrals.map((why) => [why, this.#deferred.get(why) ?? 0])),
      stale: of('expired') + of('expired_before_failover'),
      forced: of('run_timeout') + of('cancel_unanswered'),
    }
  }

  #count(tier: ReaperTier, n: number): void {
    this.#taken.set(tier, (this.#taken.get(tier) ?? 0) + n)
  }

  /** A term counts from its own beginning. */
  #begin(): void {
    const { leading } = this.#gate
    if (!leading || leading === this.#term) return
    this.#term = leading
    this.#taken = new Map()
    this.#deferred = new Map()
  }
}
