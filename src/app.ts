import { once } from 'node:events'
import type { Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Clock, systemClock } from './clock.ts'
import type { Config } from './config.ts'
import { duties, rehearsal } from './duties.ts'
import { exposition } from './expose.ts'
import { createMetricsServer } from './http/metrics-server.ts'
import { buildServer, type Server, type ServerOptions } from './http/server.ts'
import { standingOf } from './http/standing.ts'
import { type ElectionEvent, type ElectionOptions, runElection } from './leader/election.ts'
import type { Gate } from './leader/gate.ts'
import type { Duties } from './leader/tenure.ts'
import type { Term } from './leader/term.ts'
import type { Watch } from './leader/watch.ts'
import type { Log, ReplicaLog } from './log.ts'
import { runEvery } from './loop.ts'
import { type Parts, wireParts } from './parts.ts'
import { Cluster } from './services/cluster.ts'
import { refusal } from './services/serving.ts'
import { howTermBeforeEnded } from './services/succession.ts'
import type { Wiring } from './services/wire.ts'
import { recordTermEnd } from './sql/leader.ts'
import { readMigrations } from './sql/migrate.ts'
import type { Refusal } from './sql/self-test.ts'
import { lockSettings } from './sql/session.ts'
import { handlerTimeoutMs } from './timings.ts'
import { version } from './version.ts'

/** What tests put in the place of the real thing, or listen to. */
export interface Seams {
  clock?: Clock
  /** How long a balancer gets to see that this replica is no longer ready. */
  unreadyMs?: number
  edge?: ServerOptions['edge']
  onElection?(event: ElectionEvent): void
  /** Goes round what a leader has to do. */
  duties?(own: Duties): Duties
}

/** Longest that executors' requests in flight may take once this replica hands over. */
const inFlightMs = 150
/** How long a balancer gets to see that this replica is no longer ready. */
const defaultUnreadyMs = 1_000
/** How often is looked for what others wait for here, and happened elsewhere. */
const lookMs = 500

/** The composition root: every part is wired in this file, and the order of start and stop stands here
 *  alone. */
export async function createApp(config: Config, log: ReplicaLog, seams: Seams = {}): Promise<App> {
  const parts = wireParts(config, log, await readMigrations(), seams.clock ?? systemClock)
  return new App(config, log, seams, parts, await serve(config, log, seams, parts))
}

export class App {
  readonly gate: Gate
  readonly watch: Watch
  readonly wiring: Wiring
  readonly pools: Parts['pools']
  readonly identity: Parts['identity']
  /** Resolves if the self-test finds what no wait will cure. */
  readonly unfit: Promise<Refusal[]>
  readonly #config: Config
  readonly #log: Log
  readonly #seams: Seams
  readonly #parts: Parts
  readonly #server: Server
  readonly #metricsServer: HttpServer | undefined
  readonly #standing = new AbortController()
  readonly #watching = new AbortController()
  #election: Promise<void> | undefined
  #watches: Promise<void>[] = []
  #stopped: Promise<void> | undefined

  constructor(config: Config, log: Log, seams: Seams, parts: Parts, server: Server) {
    this.gate = parts.gate
    this.watch = parts.watch
    this.wiring = parts.wiring
    this.pools = parts.pools
    this.identity = parts.identity
    this.unfit = parts.unfit.promise
    this.#config = config
    this.#log = log
    this.#seams = seams
    this.#parts = parts
    this.#server = server
    const hasOwnPort = config.metricsPort !== undefined
    this.#metricsServer = hasOwnPort ? createMetricsServer(exposition(parts), log) : undefined
  }

  /** Listens first, so that the replica can say where it is; then watches, then stands. Returns the URL
   *  under which it says it is. */
  async start(): Promise<string> {
    const { role, advertisedUrl } = this.#config
    const { clock, metrics } = this.#parts
    metrics.start()
    const { host, port } = await this.#listen()
    this.identity.advertisedUrl = advertisedUrl ?? `http://${host}:${port}`
    const { signal } = this.#watching
    const look = { intervalMs: lookMs, clock, log: this.#log, signal }
    const { waits, lockWaits } = this.wiring
    this.#watches = [
      this.watch.run(signal),
      runEvery({ ...look, name: 'look_for_ended_jobs' }, () => waits.look()),
      runEvery({ ...look, name: 'look_for_free_locks' }, () => lockWaits.look()),
    ]
    if (role === 'all') {
      const options = electionOptions(this.#config, this.#log, this.#parts, this.#seams)
      this.#election = runElection(options, this.#standing.signal)
    }
    return this.identity.advertisedUrl
  }

  /** Where metrics are told, if on a port of their own. */
  get metricsPort(): number | undefined {
    const address = this.#metricsServer?.address() as AddressInfo | null | undefined
    return address?.port
  }

  async #listen(): Promise<{ host: string; port: number }> {
    const { host, port: wanted, role, metricsPort } = this.#config
    if (this.#metricsServer) {
      this.#metricsServer.listen({ host, port: metricsPort })
      await once(this.#metricsServer, 'listening')
    }
    // A whole fleet may come back at once; the system cuts it to what it allows itself (net.core.somaxconn).
    await this.#server.listen({ host, port: wanted, backlog: 4_096 })
    const { port } = this.#server.server.address() as AddressInfo
    this.#log.info({ host, port, metrics_port: this.metricsPort, role, version }, 'listening')
    return { host, port }
  }

  /** Hands over; asked again, it waits for the same end. */
  stop(): Promise<void> {
    this.#stopped ??= this.#handOver()
    return this.#stopped
  }

  /** No new work first, then the lock, then the rest. */
  async #handOver(): Promise<void> {
    const { clock, pools, metrics } = this.#parts
    const { unreadyMs = defaultUnreadyMs } = this.#seams
    this.gate.drain()
    const unreadySince = clock.monotonic()
    this.wiring.waitList.end('job')
    this.wiring.waitList.end('lock')
    await endExecutorCalls(this.#parts)
    this.#standing.abort()
    await this.#election
    await clock.sleep(unreadyMs - (clock.monotonic() - unreadySince))
    await this.#server.close()
    this.#metricsServer?.close()
    this.#metricsServer?.closeAllConnections()
    metrics.stop()
    this.#watching.abort()
    await Promise.all(this.#watches)
    await Promise.all([pools.leader.end(), pools.client.end()])
  }
}

/** With the gate closed: polls that wait are answered, and what is in flight gets a moment. */
async function endExecutorCalls({ wiring, gate, clock }: Parts): Promise<void> {
  wiring.waitList.end('poll', refusal(gate))
  const idle = new AbortController()
  void wiring.executorCalls.idle().then(() => idle.abort())
  await clock.sleep(inFlightMs, idle.signal)
}

/** By request: as a stop does it, but this replica goes on, and stands again. */
async function stepDown(parts: Parts, term: Term): Promise<void> {
  parts.gate.handOver(term)
  await endExecutorCalls(parts)
  term.lose('step_down')
}

function serve(config: Config, log: Log, { edge }: Seams, parts: Parts) {
  const { clientDb, doors, gate, watch, wiring, metrics, identity, sweepStates } = parts
  const cluster = new Cluster({
    db: clientDb,
    doors,
    gate,
    watch,
    replicaId: identity.replicaId,
    name: config.name,
    sweeps: () => (gate.serving ? [...sweepStates.values()] : []),
    reaper: () => wiring.reaper.read(),
    handOver: (term) => stepDown(parts, term),
  })
  return buildServer({
    services: { ...wiring, cluster },
    standing: () => standingOf(gate.state, watch),
    refusal: () => watch.refusals.map(({ reason, detail }) => `${reason}: ${detail}`).join('; '),
    whereabouts: () => ({
      role: gate.state,
      term: cluster.health().term,
      active_url: watch.leader?.is_led ? (watch.leader.advertised_url ?? undefined) : undefined,
    }),
    observer: metrics,
    expose: config.metricsPort === undefined ? exposition(parts) : undefined,
    handlerTimeoutMs,
    maxConnections: config.maxConnections,
    edge,
    log,
  })
}

function electionOptions(config: Config, log: Log, parts: Parts, seams: Seams): ElectionOptions {
  const { gate, watch, doors, clock, identity, wiring, metrics, onRefusedSettings } = parts
  const { idleSessionTimeoutMs } = config.timings
  const own = duties(config, log, parts)
  return {
    ...config.timings,
    replicaId: identity.replicaId,
    lock: {
      url: config.leaderDatabaseUrl,
      name: config.name,
      lockId: config.activeLockId,
      settings: lockSettings(idleSessionTimeoutMs),
      log,
      onRefusedSettings,
    },
    gate,
    duties: seams.duties?.(own) ?? own,
    clock,
    log,
    mayStand: () => watch.isRegistered && watch.schema === 'fits' && watch.refusals.length === 0,
    unfitness: () => {
      if (watch.refusals.length > 0) return 'refused'
      return watch.schema === undefined || watch.schema === 'fits' ? undefined : 'schema_changed'
    },
    isHearing: () => wiring.stalls.unsettled === 0,
    recordTermEnd: (term, reason) =>
      doors.asClient((tx) => recordTermEnd(tx, term.number, term.replicaId, reason)),
    onPing: (ping) => metrics.pinged(ping),
    onEvent: (event) => {
      metrics.election(event)
      if (event.type === 'waiting') void rehearsal(parts, log)
      if (event.type === 'promoted') tellPromotion(event.term, log, parts)
      seams.onElection?.(event)
    },
  }
}

/** Nobody waits for either. */
function tellPromotion(term: Term, log: Log, { hints, metrics, db, clock }: Parts): void {
  hints.send({ type: 'leader' })
  howTermBeforeEnded(db, clock, term).then(
    (reason) => metrics.succeeded(reason),
    (error) => {
      log.debug({ err: error }, 'how the term before ended could not be asked')
      metrics.succeeded('unknown')
    },
  )
}
