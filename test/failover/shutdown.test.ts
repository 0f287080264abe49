import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { findFreePort } from '../../src/dev/ports.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startPgProxy } from '../support/pg-proxy.ts'
import { launchServe, type ServeProcess, startServe, untilAnswers } from '../support/processes.ts'
import { openSession } from '../support/sessions.ts'
import { tempFolder } from '../support/temp.ts'

/** SIGTERM and SIGINT at each state of a real process. */

const db = useDatabase()

/** What is bounded by ten seconds, on a busy machine. */
const longestMs = 20_000

/** Asks the process to stop, and waits for its end. */
async function stop({ process: replica }: ServeProcess, signal: 'SIGTERM' | 'SIGINT') {
  const since = performance.now()
  replica.kill(signal)
  await replica.exited
  const ms = Math.round(performance.now() - since)
  process.stdout.write(`  ${signal} to exit: ${ms} ms\n`)
  expect(ms).toBeLessThan(longestMs)
  return replica.exitCode
}

async function expectNoSessions(name: string) {
  const sessions = `SELECT FROM pg_stat_activity WHERE application_name LIKE 'understudy ${name}%'`
  // The client is gone a moment before its session is.
  while ((await db.sql(sessions)).length > 0) await pause()
}

/** Holds up the recovery of whoever leads next. */
async function blockRecovery() {
  const session = await openSession(db.url)
  await session.query("BEGIN; SET LOCAL understudy.door = 'test'; LOCK TABLE executors")
}

const states: Record<string, (name: string) => Promise<ServeProcess>> = {
  active: async (name) => {
    const serve = await startServe(db, name)
    await serve.api.untilActive()
    return serve
  },
  standby: async (name) => {
    await states.active?.(`${name}-leader`)
    return startServe(db, name)
  },
  recovering: async (name) => {
    await blockRecovery()
    const serve = await launchServe(db, name)
    const isRecovering = (state: unknown) => state === 'recovering'
    await untilAnswers(serve, '/health/live', ({ body }) => isRecovering(body.controller_state))
    return serve
  },
  'database unreachable': async (name) => {
    const url = `postgres://nobody@127.0.0.1:${await findFreePort()}/nowhere`
    return live(await launchServe({ url }, name))
  },
  'schema behind': async (name) => {
    await db.sql('ALTER TABLE migrations RENAME TO hidden')
    onTestFinished(async () => {
      await db.sql('ALTER TABLE hidden RENAME TO migrations')
    })
    return refused(await launchServe(db, name), 'schema_behind')
  },
  'name taken': async (name) => {
    await startServe(db, name)
    return refused(await launchServe(db, name), 'database_unavailable')
  },
}

async function live(serve: ServeProcess): Promise<ServeProcess> {
  await untilAnswers(serve, '/health/live', ({ status }) => status === 200)
  return serve
}

async function refused(serve: ServeProcess, code: string): Promise<ServeProcess> {
  await untilAnswers(serve, '/health/ready', ({ body }) => body.code === code)
  return serve
}

test.each(
  Object.keys(states).flatMap((state) => [[state, 'SIGTERM'] as const, [state, 'SIGINT'] as const]),
)('%s: %s ends it with exit code 0, and none of its sessions stays', async (state, signal) => {
  const name = `${state.replace(' ', '-')}-${signal}`
  const serve = await states[state]?.(name)
  if (!serve) throw new Error(`no such state: ${state}`)
  expect(await stop(serve, signal)).toBe(0)
  if (state !== 'name taken') await expectNoSessions(`${name} `)
  if (state !== 'active' && state !== 'recovering') return
  expect(await db.sql('SELECT end_reason FROM terms ORDER BY term DESC LIMIT 1')).toEqual([
    { end_reason: 'hand_over' },
  ])
})

test('with Postgres gone silent a stop ends all the same', async () => {
  const proxy = await startPgProxy(db.url)
  const serve = await startServe(proxy, 'silent')
  await serve.api.untilActive()
  proxy.freeze()
  await stop(serve, 'SIGTERM')
  expect(serve.process.hasExited).toBe(true)
})

test('a stop that hangs is ended by its bound of ten seconds', async () => {
  const preload = join(tempFolder('preload'), 'hang.mjs')
  const hang = "import { Server } from 'node:http'; Server.prototype.close = () => undefined"
  await writeFile(preload, hang)
  const serve = await launchServe(db, 'hangs', { NODE_OPTIONS: `--import=${preload}` })
  await untilAnswers(serve, '/health/ready', ({ status }) => status === 200)
  expect(await stop(serve, 'SIGTERM')).toBe(1)
})

test('a second signal ends it at once, whatever it still waits for', async () => {
  const proxy = await startPgProxy(db.url)
  const serve = await startServe(proxy, 'impatient')
  await serve.api.untilActive()
  proxy.freeze()
  const stuck = serve.api.post('/v1/jobs', { kind: 'stuck' }).catch(() => 'broken')
  serve.process.kill('SIGTERM')
  await untilAnswers(serve, '/health/ready', ({ body }) => body.code === 'controller_draining')
  serve.process.kill('SIGINT')
  await serve.process.exited
  expect(serve.process.exitCode).toBe(1)
  expect(await stuck).toBe('broken')
})

test('a signal that comes while it starts is not lost', async () => {
  const serve = await launchServe(db, 'early')
  await new Promise<void>((resolve) => serve.process.onLog(() => resolve()))
  expect(await stop(serve, 'SIGTERM')).toBe(0)
  await expectNoSessions('early ')
})

test('what no wait will cure ends the process with exit code 2, and is said on stderr', async () => {
  const serve = await launchServe(db, 'two-ways', {
    UNDERSTUDY_LEADER_DATABASE_URL: Object.assign(new URL(db.url), { pathname: '/template1' }).href,
  })
  await serve.process.exited
  expect(serve.process.exitCode).toBe(2)
  expect(await readFile(serve.logFile, 'utf8')).toContain(
    'database refused:\n  - different_databases: DATABASE_URL and UNDERSTUDY_LEADER_DATABASE_URL',
  )
})
