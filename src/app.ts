import { randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { type Clock, systemClock } from './clock.ts'
import { type Config, handlerTimeoutMs } from './config.ts'
import { buildServer, type Server } from './http/server.ts'
import { standingOf } from './http/standing.ts'
import { type ElectionEvent, type ElectionOptions, runElection } from './leader/election.ts'
import { Gate } from './leader/gate.ts'
import type { Duties } from './leader/tenure.ts'
import { channel, Watch } from './leader/watch.ts'
import type { Log } from './log.ts'
import { type LoopState, runEvery } from './loop.ts'
import { checkSchemaPhase } from './recovery/check-schema.ts'
import { loadMemoryPhase } from './recovery/load-memory.ts'
import { markGonePhase } from './recovery/mark-gone.ts'
import { recover } from './recovery/recover.ts'
import { settleDeadlinesPhase } from './recovery/settle-deadlines.ts'
import { Cluster } from './services/cluster.ts'
import { type Hint, HintSender } from './services/hints.ts'
import { refusal } from './services/serving.ts'
import { heedHint, type Wiring, wireServices } from './services/wire.ts'
import { createDoors } from './sql/doors.ts'
import { raiseDeadlineFloor, recordTermEnd } from './sql/leader.ts'
import { type Migration, readMigrations } from './sql/migrate.ts'
import { createReader, openPools } from './sql/pool.ts'
import { listenSettings, lockSettings } from './sql/session.ts'
import { expireLeases } from './sweep/expire-leases.ts'
import { scanClaimable } from './sweep/scan-claimable.ts'
import { runSweeps } from './sweep/scheduler.ts'
import { wakeDue } from './sweep/wake-due-jobs.ts'
import { version } from './version.ts'

/** What tests put in the place of the real thing, or listen to. */
export interface Seams {
  clock?: Clock
  /** How long a balancer gets to see that this replica is no longer ready. */
  unreadyMs?: number
  onElection?(event: ElectionEvent): void
}

/** How long requests in flight may take once this replica hands over. */
const inFlightMs = 150
/** How long a balancer gets to see that this replica is no longer ready. */
const defaultUnreadyMs = 1_000
const jobLookMs = 500

/** The composition root: every part is wired in this file, and the order of start and stop stands here
 *  alone. */
export async function createApp(config: Config, log: Log, seams: Seams = {}): Promise<App> {
  const parts = wireParts(config, log, await readMigrations(), seams.clock ?? systemClock)
  return new App(config, log, seams, parts, await serve(config, log, parts))
}

export class App {
  readonly gate: Gate
  readonly watch: Watch
  readonly wiring: Wiring
  readonly identity: Parts['identity']
  readonly #config: Config
  readonly #log: Log
  readonly #seams: Seams
  readonly #parts: Parts
  readonly #server: Server
  readonly #standing = new AbortController()
  readonly #watching = new AbortController()
  #election: Promise<void> | undefined
  #watches: Promise<void>[] = []
  #stopped: Promise<void> | undefined

  constructor(config: Config, log: Log, seams: Seams, parts: Parts, server: Server) {
    this.gate = parts.gate
    this.watch = parts.watch
    this.wiring = parts.wiring
    this.identity = parts.identity
    this.#config = config
    this.#log = log
    this.#seams = seams
    this.#parts = parts
    this.#server = server
  }

  /** Listens first, so that the replica can say where it is; then watches, then stands. Returns the URL
   *  under which it says it is. */
  async start(): Promise<string> {
    const { host, role, advertisedUrl } = this.#config
    const { clock } = this.#parts
    await this.#server.listen({ host, port: this.#config.port })
    const { port } = this.#server.server.address() as AddressInfo
    this.identity.advertisedUrl = advertisedUrl ?? `http://${host}:${port}`
    this.#log.info({ host, port, role, version }, 'listening')
    const { signal } = this.#watching
    const look = { name: 'look_for_ended_jobs', intervalMs: jobLookMs, clock, log: this.#log }
    this.#watches = [
      this.watch.run(signal),
      runEvery({ ...look, signal }, () => this.wiring.waits.look()),
    ]
    if (role === 'all') {
      const options = electionOptions(this.#config, this.#log, this.#parts, this.#seams)
      this.#election = runElection(options, this.#standing.signal)
    }
    return this.identity.advertisedUrl
  }

  /** Hands over; asked again, it waits for the same end. */
  stop(): Promise<void> {
    this.#stopped ??= this.#handOver()
    return this.#stopped
  }

  /** No new work first, then the lock, then the rest. */
  async #handOver(): Promise<void> {
    const { clock, pools } = this.#parts
    const { unreadyMs = defaultUnreadyMs } = this.#seams
    const wasLeading = this.gate.leading !== undefined
    this.gate.drain()
    const unreadySince = clock.monotonic()
    this.wiring.waitList.end('poll', refusal(this.gate))
    this.wiring.waitList.end('job')
    if (wasLeading) await clock.sleep(inFlightMs)
    this.#standing.abort()
    await this.#election
    await clock.sleep(unreadyMs - (clock.monotonic() - unreadySince))
    await this.#server.close()
    this.#watching.abort()
    await Promise.all(this.#watches)
    await Promise.all([pools.leader.end(), pools.client.end()])
  }
}

type Parts = ReturnType<typeof wireParts>

function wireParts(config: Config, log: Log, migrations: Migration[], clock: Clock) {
  const onRefusedSettings = sayOnce(log)
  const { databaseUrl: url, name, poolSize: size } = config
  const pools = openPools({ url, name, size, log, onRefusedSettings })
  const db = createReader(pools.leader)
  const clientDb = createReader(pools.client)
  const doors = createDoors(pools)
  const gate = new Gate()
  const hints = new HintSender(db, channel, clock, log)
  const sendHint = (hint: Hint) => hints.send(hint)
  const wiring = wireServices({ config, db, clientDb, doors, gate, clock, log, sendHint })
  const identity = {
    replicaId: randomUUID(),
    name,
    advertisedUrl: '',
    role: config.role,
    version,
    activeLockId: config.activeLockId,
  }
  const shared = { pools, db, clientDb, doors, gate, hints, wiring, identity, clock, migrations }
  const sweepStates = new Map<string, LoopState>()
  const watch = wireWatch(config, log, { ...shared, onRefusedSettings })
  return { ...shared, watch, sweepStates, onRefusedSettings }
}

function wireWatch(
  config: Config,
  log: Log,
  parts: Pick<
    Parts,
    'identity' | 'migrations' | 'doors' | 'clock' | 'wiring' | 'onRefusedSettings'
  >,
): Watch {
  const { identity, wiring } = parts
  const watch: Watch = new Watch({
    ...parts,
    url: config.leaderDatabaseUrl,
    name: config.name,
    identity: () => identity,
    settings: listenSettings,
    log,
    onHint: (payload) => {
      heedHint(payload, wiring, () => watch.nudge()).catch((error) => {
        log.debug({ err: error, payload }, 'a hint was not heeded; the scans will find it')
      })
    },
    onReconnect: () => {
      wiring.wakeNudge.nudge()
      wiring.tokenCache.refresh()
    },
  })
  return watch
}

/** A setting that the server does not take costs a margin, not safety: it is named, once. */
function sayOnce(log: Log) {
  const said = new Set<string>()
  return (names: string[]) => {
    for (const name of names.filter((name) => !said.has(name))) {
      said.add(name)
      log.warn({ setting: name }, 'the server does not take this setting; a margin is lost')
    }
  }
}

function serve(
  config: Config,
  log: Log,
  { clientDb, gate, watch, wiring, identity, sweepStates }: Parts,
) {
  const cluster = new Cluster({
    db: clientDb,
    gate,
    watch,
    replicaId: identity.replicaId,
    name: config.name,
    heartbeatMs: config.timings.heartbeatMs,
    sweeps: () => (gate.serving ? [...sweepStates.values()] : []),
  })
  return buildServer({
    services: { ...wiring, cluster },
    standing: () => standingOf(gate.state, watch),
    whereabouts: () => ({
      role: gate.state,
      term: cluster.health().term,
      active_url: watch.leader?.is_led ? (watch.leader.advertised_url ?? undefined) : undefined,
    }),
    handlerTimeoutMs,
    log,
  })
}

function electionOptions(config: Config, log: Log, parts: Parts, seams: Seams): ElectionOptions {
  const { gate, watch, doors, clock, hints, identity, wiring, onRefusedSettings } = parts
  const { idleSessionTimeoutMs } = config.timings
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
    duties: duties(config, log, parts),
    clock,
    log,
    mayStand: () => watch.isRegistered && watch.schema === 'fits',
    mayLead: () => watch.schema === undefined || watch.schema === 'fits',
    isHearing: () => wiring.stalls.unsettled === 0,
    recordTermEnd: (term, reason) =>
      doors.asClient((tx) => recordTermEnd(tx, term.number, term.replicaId, reason)),
    onEvent: (event) => {
      if (event.type === 'promoted') hints.send({ type: 'leader' })
      seams.onElection?.(event)
    },
  }
}

function duties(config: Config, log: Log, parts: Parts): Duties {
  const { pools, db, doors, gate, wiring, clock, migrations, sweepStates } = parts
  const { leaseEnds, stalls, polls, catalog, wakeNudge, waitList } = wiring
  const { lostLeaseBudget, timings } = config
  const phases = [
    checkSchemaPhase(pools.leader, migrations),
    markGonePhase(doors),
    settleDeadlinesPhase(doors, leaseEnds, lostLeaseBudget),
    loadMemoryPhase(db, wiring),
  ]
  const sweeps = [
    expireLeases({
      db,
      doors,
      leaseEnds,
      stalls,
      intervalMs: timings.sweepIntervalMs,
      leaseTtlMs: timings.leaseTtlMs,
      lostLeaseBudget,
    }),
    wakeDue(db, doors, polls, wakeNudge),
    scanClaimable(db, catalog, polls),
  ]
  return {
    recover: async (term, lost) => {
      // What waits from before a second recovery waits under memory that is about to be replaced.
      waitList.end('poll', refusal(gate))
      await recover(term, lost, { phases, doors, clock, log })
    },
    sweep: async (term, lost) => {
      log.info({ term: term.number }, 'active: the gate is open')
      lost.addEventListener('abort', () => waitList.end('poll', refusal(gate)), { once: true })
      // Every executor gets one full TTL from the opening of the gate (invariant 7).
      await doors.asLeader(term, (tx) => raiseDeadlineFloor(tx, term.number, timings.leaseTtlMs))
      const onState = (state: LoopState) => sweepStates.set(state.name, state)
      await Promise.all([stalls.run(lost), runSweeps(term, lost, { sweeps, clock, log, onState })])
    },
  }
}
