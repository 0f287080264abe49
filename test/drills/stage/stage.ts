import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { findFreePort } from '../../../src/dev/ports.ts'
import type { Build } from '../../support/build.ts'
import { Recorder, recordRequests } from '../history/record.ts'
import { type Balancer, startBalancer } from './balancer.ts'
import { Cable } from './cable.ts'
import { Cast } from './cast.ts'
import { clockAt } from './clock-at.ts'
import { endWithUs } from './leftovers.ts'
import { Postgres } from './postgres.ts'
import { Replica, stateOf } from './replica.ts'
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
  /** Jobs a second, of each submitter. Default: 30. */
  ratePerSecond?: number
  /** Executors with a process each, which have the releases for themselves. */
  solos?: number
  /** Another build than this one. */
  build?: Build
}

/** A release whose executor is gone ends after its lease has. */
const lastJobsMs = 180_000

/** The processes of a drill: Postgres, replicas, a balancer, and those who call them. */
export class Stage {
  readonly folder: string
  readonly recorder: Recorder
  readonly token = randomBytes(24).toString('hex')
  readonly replicas: Replica[] = []
  readonly #cables: Cable[] = []
  readonly #clock: NodeJS.Timeout
  readonly #endRecording: () => void
  #postgres: Postgres | undefined
  #balancer: Balancer | undefined
  #cast: Cast | undefined
  #forgetBalancer: (() => void) | undefined
  #toBalanced: Cable[] = []

  private constructor(folder: string) {
    this.folder = folder
    this.recorder = new Recorder(join(folder, 'stage.jsonl'))
    this.#endRecording = recordRequests(this.recorder, 'stage')
    this.recorder.tellTime()
    this.#clock = setInterval(() => this.recorder.tellTime(), 250)
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

  get cast(): Cast {
    if (!this.#cast) throw new Error('the stage is not built')
    return this.#cast
  }

  /** The replica whose probe answers 200. */
  active(signal?: AbortSignal): Promise<Replica> {
    const find = async () => {
      for (const replica of this.replicas.filter(({ isRunning }) => isRunning)) {
        if (await answers(`${replica.url}/health/active`)) return replica
      }
      return undefined
    }
    return until('no replica is active', find, { signal })
  }

  /** Does something to somebody, and has it written down; again at its end, if `heal` is given. */
  async fault(fault: string, target: string, harm: () => unknown, heal?: () => Promise<unknown>) {
    this.recorder.write({ type: 'fault', fault, target, phase: 'start' })
    await harm()
    if (!heal) return
    await heal()
    this.recorder.write({ type: 'fault', fault, target, phase: 'end' })
  }

  /** Until every replica is ready, one of them active and another next, and work flows that was submitted
   *  since now. */
  async untilWhole(): Promise<void> {
    await until('not all replicas became ready', async () => {
      const ready = await Promise.all(
        this.replicas.map(({ url }) => answers(`${url}/health/ready`)),
      )
      return ready.every(Boolean) || undefined
    })
    await this.active()
    if (this.replicas.length > 1) await this.#untilStandby()
    await this.untilWorkFlows()
  }

  /** Until a replica waits for the lock, and has for longer than one slice: it has rehearsed. */
  #untilStandby(): Promise<true> {
    return until('no replica stands for election', async () => {
      const waiters = await this.postgres.count(
        `SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
          WHERE locktype = 'advisory' AND objsubid = 1 AND NOT granted
            AND backend_start < clock_timestamp() - interval '1.5 seconds'`,
      )
      return waiters > 0 || undefined
    })
  }

  /** Until jobs of every queue that were begun since now are done, and every executor was heard. */
  async untilWorkFlows(): Promise<void> {
    const since = await this.postgres.now()
    await until(
      'work does not flow',
      async () => {
        const [row] = await this.postgres.tryQuery<{ flows: boolean }>(
          `SELECT NOT EXISTS (SELECT FROM executors
              WHERE heartbeat_at < $1 AND executor_id NOT LIKE 'ghost-%')
            AND (SELECT count(*) = 2 FROM (
              SELECT 1 FROM attempts a JOIN jobs j ON j.id = a.job_id
              WHERE a.started_at > $1 AND a.outcome = 'succeeded' AND j.queue <> 'releases'
              GROUP BY j.queue HAVING count(*) >= 5) q) AS flows`,
          [since],
        )
        return row?.flows || undefined
      },
      { everyMs: 100 },
    )
  }

  /** Until somebody leads a later term than this, and was heard to say so. */
  async untilTermAfter(term: number): Promise<void> {
    await until('nobody took over', async () => {
      const lines = this.replicas.flatMap((replica) => replica.lines)
      return lines.some((line) => line.msg === 'promoted' && Number(line.term) > term) || undefined
    })
  }

  /** Until this replica knows that its term is over, though nobody told it. */
  async untilDeposed(replica: Replica): Promise<void> {
    await until(`${replica.name} still believes that it leads`, async () => {
      const state = await stateOf(replica)
      return (state !== undefined && state !== 'active') || undefined
    })
  }

  /** Submits no more, waits until everything that was acknowledged has ended, and stops everybody. */
  async drain(): Promise<void> {
    const { submitters, fleets } = this.cast
    await Promise.all(submitters.map((submitter) => submitter.finish(lastJobsMs)))
    await until('not every job ended', async () => {
      const live = await this.postgres.count(
        `SELECT FROM jobs WHERE state IN ('available', 'leased', 'waiting') AND queue <> 'ghosts' LIMIT 1`,
      )
      return live === 0 || undefined
    })
    this.recorder.write({ type: 'drained' })
    await Promise.all(fleets.map((fleet) => fleet.finish()))
  }

  /** Nobody asks anything from here on. */
  async silence(): Promise<void> {
    await Promise.all(this.#cast?.all.map((actor) => actor.end()) ?? [])
  }

  /** Ends all processes; what they wrote stays. */
  async tearDown(): Promise<void> {
    this.#endRecording()
    try {
      await this.silence()
      await Promise.all(this.replicas.map((replica) => replica.stop()))
    } finally {
      // A stall is known by the lines around it, and excuses a term that ends even now (judge.ts).
      this.recorder.tellTime()
      clearInterval(this.#clock)
    }
    await this.#balancer?.stop()
    this.#forgetBalancer?.()
    await Promise.all([...this.#cables, ...this.#toBalanced].map((cable) => cable.remove()))
    await this.#postgres?.stop()
    this.recorder.close()
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
    const direct = this.replicas.map(({ url }) => url)
    // Replicas that do not stand behind the balancer may be the active, too.
    const balanced = [this.balancer.url, ...direct.slice(2)]
    const { folder, token } = this
    const { solos, ratePerSecond = 30 } = options
    const places = { folder, token, direct, balanced }
    const cast = new Cast({ ...places, workMs, ratePerSecond, solos })
    this.#cast = cast
    await until('not all executors registered', async () => {
      const registered = `SELECT FROM executors WHERE executor_id NOT LIKE 'ghost-%'`
      return (await this.postgres.count(registered)) === cast.executors || undefined
    })
    await this.untilWhole()
  }

  async #addReplica(name: string, options: StageOptions) {
    const { cables, lockCables, env, clocks, build } = options
    const cable = cables || lockCables ? await Cable.lay(this.postgres.port) : undefined
    if (cable) this.#cables.push(cable)
    const direct = this.postgres.url
    const cabled = Object.assign(new URL(direct), cable && { port: cable.port }).href
    const place = this.replicas.length
    const offset = clocks?.[place]
    this.replicas.push(
      new Replica(
        {
          name,
          ...(place < 2 && { server: place === 0 ? 'one' : 'two' }),
          port: await findFreePort(),
          databaseUrl: lockCables ? direct : cabled,
          token: this.token,
          folder: this.folder,
          env: {
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
}
