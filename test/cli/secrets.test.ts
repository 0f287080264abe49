import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { findFreePort } from '../../src/dev/ports.ts'
import { startReplicaProcess } from '../../src/dev/replica-process.ts'
import { cli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { startActive } from '../support/replica.ts'
import { tempFolder } from '../support/temp.ts'

const db = useDatabase()
const secret = 'canary5c0ffee5'
const unreachable = `postgres://user:${secret}@127.0.0.1:1/none`

test.each([
  ['serve', { DATABASE_URL: secret }, 2],
  ['serve', { DATABASE_URL: unreachable, UNDERSTUDY_ADMIN_TOKEN: `${secret} blank` }, 2],
  ['migrate', { DATABASE_URL: unreachable }, 1],
  ['migrate', { DATABASE_URL: `postgres://user:${secret}@host:port/x` }, 2],
  ['migrate', { DATABASE_URL: `postgres://user:${secret}%zz@127.0.0.1:1/x` }, 1],
  ['status', { UNDERSTUDY_URLS: 'http://127.0.0.1:1', UNDERSTUDY_TOKEN: `${secret} blank` }, 2],
  [
    'submit --kind x --payload',
    { UNDERSTUDY_URLS: 'http://127.0.0.1:1', UNDERSTUDY_TOKEN: 'x' },
    2,
  ],
])('%s that fails with %o tells no secret', async (command, env, code) => {
  const args = command.split(' ')
  if (args.at(-1) === '--payload') args.push(`{"password":"${secret}"`)
  for (const each of [args, [...args, '--json']]) {
    if (command === 'serve' && each.includes('--json')) continue
    const done = await cli(each, { env })
    expect(done.stdout + done.stderr).not.toContain(secret)
    expect(done.stdout + done.stderr).not.toBe('')
    expect(done.code).toBe(code)
  }
})

test('a token that is refused is not shown', async () => {
  const { api } = await startActive(db)
  const env = { UNDERSTUDY_URLS: api.url, UNDERSTUDY_TOKEN: secret }
  const done = await cli(['status'], { env })
  expect([done.code, done.stdout + done.stderr]).toEqual([4, expect.not.stringContaining(secret)])
})

test.each([
  ['that nobody answers', unreachable],
  ['with a port that is none', `postgres://user:${secret}@host:port/x`],
  ['with an escape that is none', `postgres://user:${secret}%zz@127.0.0.1:1/x`],
])('a replica with a database URL %s says so, without its password', async (_what, databaseUrl) => {
  const logFile = join(tempFolder('secrets'), 'log')
  const port = await findFreePort()
  const options = { name: 'lonely', port, databaseUrl, adminToken: secret, logFile }
  const replica = startReplicaProcess(options)
  onTestFinished(async () => {
    replica.kill('SIGKILL')
    await replica.exited
  })
  const said = new Promise<void>((resolve) => {
    replica.onLog(({ msg }) => msg === 'the database does not answer' && resolve())
  })
  await Promise.race([said, replica.exited])
  replica.kill('SIGKILL')
  await replica.exited
  const log = await readFile(logFile, 'utf8')
  expect(log).toMatch(/the database does not answer|URI malformed|well-formed URL/)
  expect(log).not.toContain(secret)
})
