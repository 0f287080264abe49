import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { findFreePort } from '../../../src/dev/ports.ts'
import { Recorder, recordRequests } from '../history/record.ts'
import { Actor, type FleetOrders } from './actors.ts'
import { type Balancer, startBalancer } from './balancer.ts'
import type { Build } from './build.ts'
import { Cable } from './cable.ts'
import { clockAt } from './clock-at.ts'
import { endWithUs } from './leftovers.ts'
import { Postgres } from './postgres.ts'
import { Replica } from './replica.ts'
import { answers, until } from './until.ts'

export interface StageOptions {
  /** Names of the replicas; the first two stand behind the balancer. */
  replicas?: string[]
  /** Lay damageable ways from the replicas to Postgres, and from the balancer to the replicas. */
  cables?: boolean
  /** How long a job takes, milliseconds. */
  workMs?: number
  /** Further variables of the replicas. */
  env?: Record<string, string>
  /** How far the wall clocks of the replicas are off, in their order: `+600s`. Those of all others are right. */
  clocks?: string[]
  /** Lay damageable ways for the lock sessions alone. */
  lockCables?: boolean
  /** SQL that fills the database before the history begins, with a queue `ghosts`. */
  seed?: string
  /** Another build than this one. */
  build?: Build
}

/** Shorter than in production, so that a lease that is lost is lost within a drill, and the inequalities
 *  of configuration still hold. */
const timings = {
  UNDERSTUDY_HEARTBEAT_MS: '1000',
  UNDERSTUDY_SELF_FENCE_MS: '9000',
  UNDERSTUDY_LEASE_TTL_MS: '19000',
}

/** Jobs a second, of each of the two submitters. */
const ratePerSecond = 30
const fleet = { direct: 6, balanced: 2, capacity: 8 }

/** The processes of a drill: Postgres, replicas, a balancer, executors and submitters, half of which reach the
 *  replicas by a list of URLs and half through the balancer. */
export class Stage {
  readonly folder: string
  readonly recorder: Recorder
  readonly token = randomBytes(24).toString('hex')
  readonly replicas: Replica[] = []
  readonly #cables: Cable[] = []
  readonly #actors: Actor[] = []
  readonly #submitters: Actor[] = []
  readonly #clock: NodeJS.Timeout
  readonly #endRecording: () => void
  #postgres: Postgres | undefined
  #balancer: Balancer | undefined
  #forgetBalancer: (() => void) | undefined
  #toBalanced: Cable[] = []

  private constructor(folder: string) {
    this.folder = folder
    this.recorder = new Recorder(join(folder, 'stage.jsonl'))
    this.#endRecording = recordRequests(this.recorder, 'stage')
    const tellTime = () => this.recorder.write({ type: 'clock', wall: Date.now() })
    tellTime()
    this.#clock = setInterval(tellTime, 250)
  }

  /** Resolves when work flows. */
  static async start(folder: string, options: StageOptions): Promise<Stage> {
    await mkdir(folder, { recursive: true })
    const stage = new Stage(folder)
    try {
      await stage.#build(options)
      return stage
    } catch (error) {
      await stage.tearDown()
      throw error
    }
  }

  get postgres(): Postgres {
    if (!this.#postgres) throw new Error('the stage is not built')
    return this.#postgres
  }

  get balancer(): Balancer {
    if (!this.#balancer) throw new Error('the stage is not built')
    return this.#balancer
  }

  /** The replica whose probe answers 200. */
  active(): Promise<Replica> {
    return until('no replica is active', async () => {
      for (const replica of this.replicas.filter(({ isRunning }) => isRunning)) {
        if (await answers(`${replica.url}/health/active`)) return replica
      }
      return undefined
    })
  }

  /** Does something to somebody, and has it written down; again at its end, if `heal` is given. */
  async fault(fault: string, target: string, harm: () => unknown, heal?: () => Promise<unknown>) {
    this.recorder.write({ type: 'fault', fault, target, phase: 'start' })
    await harm()
    if (!heal) return
    await heal()
    this.recorder.write({ type: 'fault', fault, target, phase: 'end' })
  }

  /** Until every replica is ready, one of them active, and work flows that was submitted since now. */
  async untilWhole(): Promise<void> {
    await until('not all replicas became ready', async () => {
      const ready = await Promise.all(
        this.replicas.map(({ url }) => answers(`${url}/health/ready`)),
      )
      return ready.every(Boolean) || undefined
    })
    await this.active()
    await this.untilWorkFlows()
  }

  /** Until jobs of every submitter that were submitted since now are done, and every executor was heard. */
  async untilWorkFlows(): Promise<void> {
    const [{ since } = { since: '' }] = await this.postgres.tryQuery<{ since: string }>(
      'SELECT clock_timestamp()::text AS since',
    )
    await until('work does not flow', async () => {
      const [row] = await this.postgres.tryQuery<{ flows: boolean }>(
        `SELECT NOT EXISTS (SELECT FROM executors WHERE heartbeat_at < $1)
          AND (SELECT count(*) = $2 FROM (
            SELECT 1 FROM jobs WHERE created_at > $1 AND state = 'succeeded'
            GROUP BY queue HAVING count(*) >= 5) q) AS flows`,
        [since, this.#submitters.length],
      )
      return row?.flows || undefined
    })
  }

  /** Until this replica knows that its term is over, though nobody told it. */
  async untilDeposed(replica: Replica): Promise<void> {
    await until(`${replica.name} still believes that it leads`, async () => {
      const answer = await fetch(`${replica.url}/health/live`).catch(() => undefined)
      const health = (await answer?.json()) as { controller_state: string } | undefined
      return (health && health.controller_state !== 'active') || undefined
    })
  }

  actor(name: string): Actor {
    const actor = this.#actors.find((each) => each.name === name)
    if (!actor) throw new Error(`no ${name} takes part`)
    return actor
  }

  /** More executors, in a process of their own. */
  addFleet(actor: string, orders: Pick<FleetOrders, 'capacity' | 'executors'>): Actor {
    const added = new Actor(
      'fleet',
      { actor, history: this.#file(actor), token: this.token, ...orders },
      join(this.folder, `${actor}.log`),
    )
    this.#actors.push(added)
    return added
  }

  /** Submits no more, waits until everything that was acknowledged has ended, and stops everybody. */
  async drain(): Promise<void> {
    for (const submitter of this.#submitters) await submitter.finish()
    await until('not every job ended', async () => {
      const [row] = await this.postgres.tryQuery<{ live: string }>(
        `SELECT count(*) AS live FROM jobs 
          WHERE state IN ('available', 'leased') AND queue <> 'ghosts'`,
      )
      return Number(row?.live) === 0 || undefined
    })
    this.recorder.write({ type: 'drained' })
    await Promise.all(this.#actors.map((actor) => actor.finish()))
  }

  /** Nobody asks anything from here on. */
  async silence(): Promise<void> {
    await Promise.all([...this.#submitters, ...this.#actors].map((actor) => actor.end()))
  }

  /** Ends all processes; what they wrote stays. */
  async tearDown(): Promise<void> {
    clearInterval(this.#clock)
    this.#endRecording()
    await this.silence()
    const running = this.replicas.filter(({ isRunning }) => isRunning)
    for (const replica of running) replica.kill('SIGCONT')
    for (const replica of running) replica.kill('SIGTERM')
    await Promise.all(running.map((replica) => replica.exited()))
    await this.#balancer?.stop()
    this.#forgetBalancer?.()
    await Promise.all([...this.#cables, ...this.#toBalanced].map((cable) => cable.remove()))
    await this.#postgres?.stop()
    await this.recorder.close()
  }

  /** The way from the balancer to a replica. */
  cableTo(replica: Replica): Cable {
    const cable = this.#toBalanced[this.replicas.indexOf(replica)]
    if (!cable) throw new Error('this drill laid no cables')
    return cable
  }

  async #build(options: StageOptions) {
    const { replicas = ['a', 'b'], cables = false, workMs = 100, build, seed } = options
    this.#postgres = await Postgres.start(this.folder, { migrations: build?.migrations, seed })
    for (const name of replicas) await this.#addReplica(name, options)
    for (const replica of this.replicas) replica.start()
    await this.active()
    await this.#startBalancer(cables)
    this.#startActors(workMs)
    await until('not all executors registered', async () => {
      const [row] = await this.postgres.tryQuery<{ n: string }>(
        'SELECT count(*) AS n FROM executors',
      )
      return Number(row?.n) === fleet.direct + fleet.balanced || undefined
    })
    await this.untilWhole()
  }

  async #addReplica(name: string, options: StageOptions) {
    const { cables, lockCables, env, clocks, build } = options
    const cable = cables || lockCables ? await Cable.lay(this.postgres.port) : undefined
    if (cable) this.#cables.push(cable)
    const direct = this.postgres.url
    const cabled = Object.assign(new URL(direct), cable && { port: cable.port }).href
    const offset = clocks?.[this.replicas.length]
    this.replicas.push(
      new Replica(
        {
          name,
          port: await findFreePort(),
          databaseUrl: lockCables ? direct : cabled,
          token: this.token,
          folder: this.folder,
          env: {
            ...timings,
            ...env,
            ...(lockCables && { UNDERSTUDY_LEADER_DATABASE_URL: cabled }),
            ...(offset && clockAt(offset)),
          },
          ...(cable && { cable }),
          ...(build && { program: build.program }),
        },
        this.recorder,
      ),
    )
  }

  async #startBalancer(isCabled: boolean) {
    const ports = this.replicas.map(({ url }) => Number(new URL(url).port))
    if (isCabled) this.#toBalanced = await Promise.all(ports.map((port) => Cable.lay(port)))
    const [one = 0, two = 0] = isCabled ? this.#toBalanced.map(({ port }) => port) : ports
    const urlOf = (port: number) => `http://127.0.0.1:${port}`
    this.#balancer = await startBalancer({ replicas: [urlOf(one), urlOf(two)] })
    this.#forgetBalancer = endWithUs(this.#balancer.pid)
  }

  #startActors(workMs: number) {
    const direct = this.replicas.map(({ url }) => url)
    // Replicas that do not stand behind the balancer may be the active, too.
    const balanced = [this.balancer.url, ...direct.slice(2)]
    const queues = ['direct', 'balanced']
    const members = (way: 'direct' | 'balanced', urls: string[]) =>
      Array.from({ length: fleet[way] }, (_, n) => ({ id: `${way}-${n + 1}`, urls, queues }))
    const { capacity } = fleet
    this.addFleet('fleet-direct', { capacity, executors: members('direct', direct) })
    this.addFleet('fleet-balanced', { capacity, executors: members('balanced', balanced) })
    for (const [queue, urls] of [
      ['direct', direct],
      ['balanced', balanced],
    ] as const) {
      const actor = `submitter-${queue}`
      const orders = { ratePerSecond, queue, workMs, urls }
      this.#submitters.push(
        new Actor(
          'submitter',
          { actor, history: this.#file(actor), token: this.token, ...orders },
          join(this.folder, `${actor}.log`),
        ),
      )
    }
  }

  #file(actor: string): string {
    return join(this.folder, `${actor}.jsonl`)
  }
}
