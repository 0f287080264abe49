import { type Config, loadConfig } from '../../src/config.ts'
import { duties, startDeadlines, sweepsOf } from '../../src/duties.ts'
import { isUnavailable } from '../../src/errors.ts'
import { LockSession } from '../../src/leader/lock-session.ts'
import { Term } from '../../src/leader/term.ts'
import { createLog, type ReplicaLog } from '../../src/log.ts'
import { type Parts, wireParts } from '../../src/parts.ts'
import { encodeHint } from '../../src/services/hints.ts'
import { heedHint } from '../../src/services/wire.ts'
import { asUnavailable, sqlState } from '../../src/sql/failure.ts'
import type { Migration } from '../../src/sql/migrate.ts'
import type { Sweep } from '../../src/sweep/scheduler.ts'
import { HandClock } from '../support/hand-clock.ts'
import type { SweepName } from './calls.ts'
import { limits } from './rules/state.ts'
import type { Sql } from './sql.ts'

const minute = 60_000
const ms = (minutes: number) => String(minutes * minute)
const lockNotAvailable = '55P03'

/** A replica as it runs: its services, recovery and sweeps on the real database. Only what would go on by itself is
 *  led by hand: the election, the loop of the sweeps, and the local clock, by which no deadline is judged. */
export class Replica {
  readonly parts: Parts
  readonly clock = new HandClock()
  readonly #config: Config
  readonly #log: ReplicaLog
  readonly #recover: (term: Term, lost: AbortSignal) => Promise<void>
  readonly #sweeps: Map<string, Sweep>
  readonly #sql: Sql
  readonly #url: string
  readonly #giveBacks = new Set<Promise<number>>()
  #lock: LockSession | undefined
  #term: Term | undefined

  constructor(url: string, name: string, sql: Sql, migrations: Migration[]) {
    const config = configOf(url, name)
    this.#config = config
    this.#url = url
    this.#sql = sql
    this.#log = createLog(process.env.UNDERSTUDY_TEST_LOG ?? 'silent', { name })
    this.parts = wireParts(config, this.#log, migrations, this.clock)
    this.#recover = duties(config, this.#log, this.parts).recover
    const sweeps = sweepsOf(config, this.#log, this.parts, () => undefined)
    this.#sweeps = new Map(sweeps.map((sweep) => [sweep.name, sweep]))
    this.#followGiveBacks()
  }

  /** The latest term that it led, whether or not it knows that it is over. */
  get number(): number | undefined {
    return this.#term?.number
  }

  get wiring(): Parts['wiring'] {
    return this.parts.wiring
  }

  /** Promoted as the election does it, and recovered; then the gate is open. */
  async lead(): Promise<number> {
    const { replicaId } = this.#log
    await this.#sql(
      `INSERT INTO replicas (replica_id, name, advertised_url, role, version, active_lock_id)
        VALUES ('${replicaId}', 'modelled', '', 'all', '0', ${lockId}) ON CONFLICT DO NOTHING`,
    )
    const term = this.#enter(await this.#promoteAtLast())
    const { gate, doors } = this.parts
    await atLast(() => this.#recover(term, term.lost))
    gate.open(term)
    await atLast(() => startDeadlines(term, doors, this.#config))
    return term.number
  }

  /** It loses its lock, as if its session had been cut, and has not noticed: its gate stays open. */
  async loseLock(): Promise<void> {
    await this.#lock?.close()
    this.#lock = undefined
  }

  /** A leader of an older term that was frozen wakes up where it was. */
  thaw(): void {
    if (!this.#term || this.parts.gate.serving) return
    this.parts.gate.open(this.#enter(this.#term.number))
  }

  /** Tells that it serves, as the keeper of the term does. */
  async tick(): Promise<void> {
    const term = this.#term
    const lock = this.#lock
    const isHeld =
      term && lock && (await atLast(() => lock.tick(term.number, term.replicaId, true)))
    if (!isHeld) throw new Error('the leader of the model has lost its term')
  }

  /** What is claimable is known here, whoever made it so. */
  async hear(): Promise<void> {
    await this.wiring.catalog.load()
    for (const classId of this.wiring.catalog.classes.keys()) {
      await heedHint(encodeHint({ type: 'claimable', classId }), this.wiring, () => undefined)
    }
  }

  /** One pass, in a process that was never deaf: the hand-led clock jumps, which is no stall. */
  async sweep(name: SweepName): Promise<void> {
    const sweep = this.#sweeps.get(name)
    const term = this.#term
    if (!sweep || !term) throw new Error(`there is no sweep ${name}`)
    const { stalls } = this.wiring
    stalls.settle(stalls.unsettled)
    await sweep.runOnce(term)
  }

  /** Offers that a heartbeat found lost go back by themselves; resolves once they have. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#giveBacks)
  }

  async stop(): Promise<void> {
    await this.loseLock()
    const { leader, client } = this.parts.pools
    await Promise.all([leader.end(), client.end()])
  }

  /** A session that did not answer is given up, with all that it may have got: its term was then nobody's. */
  async #promoteAtLast(): Promise<number> {
    return await atLast(async () => {
      await this.loseLock()
      const lock = await this.#openLock()
      await granted(lock)
      return await promote(lock, this.#log.replicaId)
    })
  }

  #enter(number: number): Term {
    const { gate } = this.parts
    const term = new Term(number, this.#log.replicaId, this.clock, Number.POSITIVE_INFINITY)
    this.#term = term
    gate.recovering(term)
    return term
  }

  #followGiveBacks(): void {
    const { polls } = this.wiring
    const giveBack = polls.giveBack.bind(polls)
    polls.giveBack = (term, offers) => {
      const going = giveBack(term, offers)
      this.#giveBacks.add(going)
      const forget = () => this.#giveBacks.delete(going)
      going.then(forget, forget)
      return going
    }
  }

  async #openLock(): Promise<LockSession> {
    this.#lock = await LockSession.open({
      url: this.#url,
      name: 'modelled',
      lockId,
      settings: {},
      log: this.#log,
      onRefusedSettings: () => undefined,
    })
    return this.#lock
  }
}

const lockId = '504946615666'

/** More than a machine that is busy takes; what goes on longer has another reason. */
const mostTries = 20

/** Taken up again as the election and the tenure do: a machine that is busy may let a session time out. */
async function atLast<T>(run: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await run()
    } catch (error) {
      if (tries === mostTries || !isUnavailable(asUnavailable(error))) throw error
    }
  }
}

async function granted(lock: LockSession): Promise<void> {
  for (let slices = 1; !(await lock.waitSlice(900)); slices += 1) {
    if (slices === mostTries) throw new Error('the lock of the leader before is not let go')
  }
}

/** As the election does: who still holds the fence is ended. */
async function promote(lock: LockSession, replicaId: string): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await lock.promote(replicaId)
    } catch (error) {
      if (tries === mostTries || sqlState(error) !== lockNotAvailable) throw error
      await lock.terminateFenceHolders()
    }
  }
}

/** Deadlines are whole minutes, so that the milliseconds that a sequence takes never decide anything. */
function configOf(url: string, name: string) {
  return loadConfig({
    DATABASE_URL: url,
    UNDERSTUDY_NAME: name,
    UNDERSTUDY_HEARTBEAT_MS: ms(1),
    UNDERSTUDY_LEASE_TTL_MS: ms(limits.leaseTtl),
    UNDERSTUDY_SELF_FENCE_MS: ms(limits.leaseTtl - 1),
    UNDERSTUDY_CANCEL_GRACE_MS: ms(limits.cancelGrace),
    UNDERSTUDY_RUN_TIMEOUT_GRACE_MS: ms(limits.runTimeoutGrace),
    UNDERSTUDY_LOST_LEASE_BUDGET: String(limits.lostLeaseBudget),
  })
}
