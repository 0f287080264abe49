import { Registry } from 'prom-client'
import {
  type Deferral,
  deferrals as deferralReasons,
  type LeaseEnd,
  tiers,
} from '../domain/lease.ts'
import { type ErrorCode, errorTable } from '../errors.ts'
import type { ElectionEvent } from '../leader/election.ts'
import type { ControllerState } from '../leader/gate.ts'
import type { Ping } from '../leader/keeper.ts'
import { endReasons } from '../leader/term.ts'
import type { LoopRun } from '../loop.ts'
import { defineMetrics } from './definitions.ts'
import { ProcessWatch } from './process-watch.ts'

/** What a replica is like at the moment of a scrape, from memory. */
export interface Snapshot {
  state: ControllerState
  isReady: boolean
  isLeading: boolean
  term: number
  trustMarginMs: number
  isDatabaseReachable: boolean
  waiting: Record<string, number>
  pools: Record<string, { totalCount: number; idleCount: number; waitingCount: number }>
}

const states: readonly ControllerState[] = ['standby', 'recovering', 'active', 'draining']

const seconds = (ms: number) => ms / 1_000
const flag = (is: boolean) => (is ? 1 : 0)

/**
 * What this replica tells Prometheus, in a registry of its own: tests run several replicas in one process.
 * The other parts know nothing of it. They call functions, which app.ts, parts.ts and duties.ts hand in.
 */
export class Metrics {
  readonly #registry = new Registry()
  readonly #all = defineMetrics(this.#registry)
  readonly #process = new ProcessWatch(this.#all)
  #leastMarginMs = Number.POSITIVE_INFINITY

  constructor(version: string) {
    const { build, promotions, termsEnded, problems, deferrals, leasesEnded } = this.#all
    build.set({ version }, 1)
    // A counter that appears with its first event hides that event from rate() and increase().
    for (const reason of [...endReasons, 'first', 'unknown']) promotions.inc({ reason }, 0)
    for (const reason of endReasons) termsEnded.inc({ reason }, 0)
    for (const code of Object.keys(errorTable)) problems.inc({ code }, 0)
    for (const reason of deferralReasons) deferrals.inc({ reason }, 0)
    for (const tier of tiers) leasesEnded.inc({ tier, outcome: 'lost' }, 0)
    leasesEnded.inc({ tier: 'run_timeout', outcome: 'failed' }, 0)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  start(): void {
    this.#process.start()
  }

  stop(): void {
    this.#process.stop()
  }

  /** Everything, as Prometheus reads it. */
  async render(now: Snapshot): Promise<string> {
    const all = this.#all
    for (const state of states) all.state.set({ state }, flag(state === now.state))
    all.ready.set(flag(now.isReady))
    all.leading.set(flag(now.isLeading))
    all.term.set(now.term)
    all.margin.set(seconds(now.trustMarginMs))
    all.leastMargin.set(seconds(this.#leastMarginMs))
    all.reachable.set(flag(now.isDatabaseReachable))
    for (const [group, waiting] of Object.entries(now.waiting)) {
      all.waiting.set({ for: group }, waiting)
    }
    for (const [pool, { totalCount, idleCount, waitingCount }] of Object.entries(now.pools)) {
      all.pool.set({ pool, state: 'idle' }, idleCount)
      all.pool.set({ pool, state: 'busy' }, totalCount - idleCount)
      all.poolWaiting.set({ pool }, waitingCount)
    }
    this.#process.look()
    return await this.#registry.metrics()
  }

  election(event: ElectionEvent): void {
    if (event.type === 'promoted') {
      this.#all.promotion.observe(seconds(event.ms))
      this.#leastMarginMs = event.term.marginMs
    }
    if (event.type !== 'ended') return
    this.#all.termsEnded.inc({ reason: event.reason })
    // No ping was answered that could have told it.
    if (event.reason === 'trust_expired') this.#leastMarginMs = 0
  }

  /** A promotion, once it is known how the term before had ended. */
  succeeded(reason: string): void {
    this.#all.promotions.inc({ reason })
  }

  pinged({ ms, marginMs }: Ping): void {
    this.#all.ping.observe(seconds(ms))
    this.#leastMarginMs = Math.min(this.#leastMarginMs, marginMs)
  }

  recovered(ms: number): void {
    this.#all.recovery.observe(seconds(ms))
  }

  recoveryPhase(phase: string, ms: number): void {
    this.#all.recoveryPhase.observe({ phase }, seconds(ms))
  }

  recoveryFailed(): void {
    this.#all.recoveryFailures.inc()
  }

  leasesEnded(ends: readonly Pick<LeaseEnd, 'tier' | 'outcome'>[]): void {
    for (const { tier, outcome } of ends) this.#all.leasesEnded.inc({ tier, outcome })
  }

  /** All deadlines that take work away were moved. */
  reclaimDeferred(reason: Deferral): void {
    this.#all.deferrals.inc({ reason })
  }

  sweepRan({ name: sweep, ms, counts }: LoopRun): void {
    const all = this.#all
    all.sweep.observe({ sweep }, seconds(ms))
    all.sweepFailures.inc({ sweep }, flag(counts === undefined))
    for (const [what, count] of Object.entries(counts ?? {})) {
      all.sweepCounts.inc({ sweep, what }, count)
    }
  }

  /** `route` is a pattern; undefined: it was none of ours, and so its method may be anything. */
  answered(route: string | undefined, method: string, status: string, ms: number): void {
    const labels = route === undefined ? { route: 'none', method: 'any' } : { route, method }
    this.#all.requests.inc({ ...labels, status })
    this.#all.request.observe(labels, seconds(ms))
  }

  refused(code: ErrorCode): void {
    this.#all.problems.inc({ code })
  }

  turnedAway(code: ErrorCode): void {
    this.#all.gateRejections.inc({ code })
  }

  connections(open: number): void {
    this.#all.connections.set(open)
  }
}
