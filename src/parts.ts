import type { Clock } from './clock.ts'
import type { Config } from './config.ts'
import { Gate } from './leader/gate.ts'
import { channel, Watch } from './leader/watch.ts'
import type { Log, ReplicaLog } from './log.ts'
import type { LoopState } from './loop.ts'
import { Metrics } from './metrics/metrics.ts'
import { type Hint, HintSender } from './services/hints.ts'
import { heedHint, wireServices } from './services/wire.ts'
import { createDoors } from './sql/doors.ts'
import type { Migration } from './sql/migrate.ts'
import { createReader, openPools } from './sql/pool.ts'
import type { Refusal } from './sql/self-test.ts'
import { listenSettings } from './sql/session.ts'
import { version } from './version.ts'

/** What a replica is made of, wired but not started. */
export type Parts = ReturnType<typeof wireParts>

export function wireParts(config: Config, log: ReplicaLog, migrations: Migration[], clock: Clock) {
  const onRefusedSettings = sayOnce(log)
  const { databaseUrl: url, name, poolSize: size } = config
  const pools = openPools({ url, name, size, log, onRefusedSettings })
  const db = createReader(pools.leader)
  const clientDb = createReader(pools.client)
  const doors = createDoors(pools)
  const gate = new Gate()
  log.context = () => (gate.leading ? { term: gate.leading.number } : {})
  const hints = new HintSender(db, channel, clock, log)
  const sendHint = (hint: Hint) => hints.send(hint)
  const wiring = wireServices({ config, db, clientDb, doors, gate, clock, log, sendHint })
  const metrics = new Metrics(version)
  wiring.leaseEnds.subscribe((ends) => metrics.leasesEnded(ends))
  const identity = {
    replicaId: log.replicaId,
    name,
    advertisedUrl: '',
    role: config.role,
    version,
    activeLockId: config.activeLockId,
  }
  const unfit = Promise.withResolvers<Refusal[]>()
  const shared = {
    pools,
    db,
    clientDb,
    doors,
    gate,
    hints,
    wiring,
    metrics,
    identity,
    clock,
    migrations,
    unfit,
  }
  const sweepStates = new Map<string, LoopState>()
  const watch = wireWatch(config, log, { ...shared, onRefusedSettings })
  return { ...shared, watch, sweepStates, onRefusedSettings }
}

function wireWatch(
  config: Config,
  log: Log,
  parts: Pick<
    Parts,
    'identity' | 'migrations' | 'db' | 'doors' | 'clock' | 'wiring' | 'unfit' | 'onRefusedSettings'
  >,
): Watch {
  const { identity, wiring } = parts
  const watch: Watch = new Watch({
    ...parts,
    databaseUrl: config.databaseUrl,
    leaderDatabaseUrl: config.leaderDatabaseUrl,
    name: config.name,
    identity: () => identity,
    settings: listenSettings,
    log,
    onUnfit: parts.unfit.resolve,
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
