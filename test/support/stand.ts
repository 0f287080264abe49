import { randomUUID } from 'node:crypto'
import { onTestFinished } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { type ElectionEvent, type ElectionOptions, runElection } from '../../src/leader/election.ts'
import { Gate } from '../../src/leader/gate.ts'
import type { LockSessionOptions } from '../../src/leader/lock-session.ts'
import type { Duties } from '../../src/leader/tenure.ts'
import { createLog } from '../../src/log.ts'
import { lockSettings } from '../../src/sql/session.ts'
import type { TestDatabase } from './database.ts'
import { Signals } from './signals.ts'

/** An election with duties of our own. */
export function stand(
  db: TestDatabase,
  duties: Duties,
  name: string,
  lock: Partial<LockSessionOptions> = {},
  more: Partial<ElectionOptions> = {},
) {
  const events = new Signals<ElectionEvent>()
  const stopping = new AbortController()
  const gate = new Gate()
  const replicaId = randomUUID()
  const options: ElectionOptions = {
    replicaId,
    lock: {
      url: db.url,
      name,
      lockId: '504946615666',
      // However busy the machine is: no test of duties is about what time takes from a leader.
      settings: lockSettings(600_000),
      log: createLog('silent'),
      onRefusedSettings: () => undefined,
      ...lock,
    },
    lockSliceMs: 900,
    pingMs: 100,
    trustWindowMs: 300_000,
    gate,
    duties,
    clock: { ...systemClock, sleep: (ms, ...over) => systemClock.sleep(Math.min(ms, 50), ...over) },
    log: createLog('silent'),
    mayStand: () => true,
    unfitness: () => undefined,
    isHearing: () => true,
    recordTermEnd: async () => undefined,
    onEvent: (event) => events.fire(event),
    ...more,
  }
  const register = db.sql(
    `INSERT INTO replicas (replica_id, name, advertised_url, role, version, active_lock_id)
      VALUES ($1, $2, '', 'all', '0', 504946615666)`,
    [replicaId, name],
  )
  const running = register.then(() => runElection(options, stopping.signal))
  onTestFinished(() => {
    stopping.abort()
    return running
  })
  return { events, gate, replicaId }
}

/** Sweeps of which there are none. */
export const untilLost: Duties['sweep'] = (_term, lost) =>
  new Promise((resolve) => lost.addEventListener('abort', () => resolve()))
