import { createApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { createLog } from '../../src/log.ts'
import { Api } from '../support/api.ts'
import type { TestDatabase } from '../support/database.ts'
import { adminToken } from '../support/replica.ts'
import type { Meddle } from './flaky-proxy.ts'

/** An offer goes back after two heartbeats this far apart that do not list it: further than a busy machine stalls. */
export const patient = { UNDERSTUDY_HEARTBEAT_MS: '6000' }

/** So that tests need not wait long for heartbeats all the same. */
export const beatOften: Meddle = ({ name }, answer) =>
  name === 'heartbeat' ? { ...answer, heartbeat_ms: 300 } : answer

async function start(db: TestDatabase, name: string) {
  const config = loadConfig({
    DATABASE_URL: db.url,
    UNDERSTUDY_PORT: '0',
    UNDERSTUDY_NAME: name,
    UNDERSTUDY_ADMIN_TOKEN: adminToken,
    // As `startReplica` has them.
    UNDERSTUDY_TRUST_WINDOW_MS: '8000',
    UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '12000',
    ...patient,
  })
  const app = await createApp(config, createLog('silent', { name }), { unreadyMs: 0 })
  return { api: new Api(await app.start(), adminToken), stop: () => app.stop() }
}

/** Two replicas for all tests of a file: starting them takes longer than most of its tests. */
export async function startPair(db: TestDatabase) {
  const active = await start(db, 'active')
  await active.api.untilActive()
  const standby = await start(db, 'standby')
  const stop = async () => {
    await Promise.all([active.stop(), standby.stop()])
  }
  return { active: active.api, standby: standby.api, stop }
}
