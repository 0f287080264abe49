import { onTestFinished } from 'vitest'
import { type App, createApp, type Seams } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import type { ElectionEvent } from '../../src/leader/election.ts'
import { createLog } from '../../src/log.ts'
import { Api } from './api.ts'
import type { TestDatabase } from './database.ts'
import type { LogLines } from './log-lines.ts'
import { Signals } from './signals.ts'

export const adminToken = 'admin-token-of-the-tests'

export interface TestReplica {
  app: App
  api: Api
  events: Signals<ElectionEvent>
}

let started = 0

/** A replica in this process, on a free port, stopped when the test ends. */
export async function startReplica(
  db: Pick<TestDatabase, 'url'>,
  env: Record<string, string> = {},
  seams: Seams = {},
  logged?: LogLines,
): Promise<TestReplica> {
  started += 1
  const config = loadConfig({
    DATABASE_URL: db.url,
    UNDERSTUDY_PORT: '0',
    UNDERSTUDY_NAME: `replica-${started}`,
    UNDERSTUDY_ADMIN_TOKEN: adminToken,
    // A busy machine may stall a test's process for a while; only tests of trust are about that.
    UNDERSTUDY_TRUST_WINDOW_MS: '8000',
    UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '12000',
    ...env,
  })
  const events = new Signals<ElectionEvent>()
  const level = logged?.level ?? process.env.UNDERSTUDY_TEST_LOG ?? 'silent'
  const log = createLog(level, { name: config.name }, logged)
  const app = await createApp(config, log, {
    unreadyMs: 0,
    ...seams,
    onElection: (event) => {
      events.fire(event)
      seams.onElection?.(event)
    },
  })
  const url = await app.start()
  onTestFinished(() => app.stop())
  return { app, api: new Api(url, adminToken), events }
}

const endless =
  'SET lock_timeout = 0; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0'

/** From here on what its pools ask waits for the locks that a test holds, however long the test takes. Asked by each
 *  session before what it is taken from its pool for. */
export function waitForLocks({ pools }: Pick<App, 'pools'>): void {
  for (const pool of Object.values(pools)) {
    pool.on('acquire', (client) => {
      const ours = client as unknown as { connectionParameters: { query_timeout: number } }
      ours.connectionParameters.query_timeout = 0
      client.query(endless).catch(() => undefined)
    })
  }
}

/** A replica that leads and serves. */
export async function startActive(
  db: Pick<TestDatabase, 'url'>,
  env: Record<string, string> = {},
  seams: Seams = {},
  logged?: LogLines,
): Promise<TestReplica> {
  const replica = await startReplica(db, env, seams, logged)
  await replica.api.untilActive()
  return replica
}
