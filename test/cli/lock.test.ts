import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { cliPath } from '../../src/dev/replica-process.ts'
import { isAlive, untilFile } from '../agent/start-agent.ts'
import { cli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { age, Claimant, lockName } from '../support/locks.ts'
import { pause } from '../support/pause.ts'
import { adminToken, startActive, startReplica } from '../support/replica.ts'
import { tempFolder } from '../support/temp.ts'

const db = useDatabase()

async function start() {
  const { api, app } = await startActive(db)
  const env = { UNDERSTUDY_URLS: api.url, UNDERSTUDY_TOKEN: adminToken }
  const name = lockName()
  const look = async () => (await api.must(200, api.get(`/v1/locks/${name}`))).body.lock
  /** `lock run` of a shell script. */
  const run = (script: string, flags: string[] = []) => runUnder(env, name, script, flags)
  const claimant = () => new Claimant(api, name)
  return { api, app, env, name, look, run, claimant }
}

function runUnder(env: Record<string, string>, name: string, script: string, flags: string[]) {
  const folder = tempFolder('lock')
  const args = ['lock', 'run', name, ...flags, '--', 'sh', '-c', script]
  const child = spawn(process.execPath, [cliPath, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const closed = new Promise((resolve) => child.once('close', resolve))
  const exited = closed.then(() => ({ code: child.exitCode, stdout, stderr }))
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await exited
  })
  return { child, folder, exited, pid: async () => Number(await untilFile(join(folder, 'pid'))) }
}

async function untilDead(pid: number): Promise<void> {
  while (isAlive(pid)) await pause()
}

test('acquire, renew, list, status, release and force-release, for people and as JSON', async () => {
  const { api, env, name } = await start()
  const lock = (verb: string, ...flags: string[]) => cli(['lock', verb, ...flags], { env })
  const job = await api.submit()
  const got = await lock('acquire', name, '--ttl', '10m', '--job', job.id, '--metadata', '{"n":1}')
  const [, fence, owner = '', bootId = ''] = /^(\d+) (\S+) (\S+)\n$/.exec(got.stdout) ?? []
  expect([got.code, fence]).toEqual([0, '1'])
  // However long the next commands take.
  await age(db, name, '-5 min')
  const { locks } = (await lock('list', '--json')).json()
  expect(locks).toMatchObject([
    { name, owner, ttl_ms: 600_000, job_id: job.id, metadata: { n: 1 } },
  ])
  for (const { stdout } of [await lock('list'), await cli(['status'], { env })]) {
    expect(stdout).toMatch(new RegExp(`^ {2}${name} +held +${owner} +1 `, 'm'))
  }
  const taken = await lock('acquire', name, '--wait', '100ms', '--json')
  expect([taken.code, JSON.parse(taken.stderr).error.code]).toEqual([75, 'lock_held'])
  const holder = ['--fence', '1', '--owner', owner, '--boot-id', bootId]
  expect(await lock('renew', name, ...holder)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(new RegExp(`^${name} is held until `)),
  })
})

test('release and force-release; what is refused has its exit code', async () => {
  const { api, env, name, claimant } = await start()
  const lock = (verb: string, ...flags: string[]) => cli(['lock', verb, ...flags], { env })
  const holder = claimant()
  const proof = ['--owner', holder.owner, '--boot-id', holder.boot_id]
  await holder.take()
  const released = await lock('release', name, '--fence', '1', ...proof)
  expect(released).toMatchObject({ code: 0, stdout: `${name} is free\n` })
  const again = await lock('acquire', name, '--json')
  expect(again.json()).toMatchObject({ name, fence: 2, owner: expect.any(String) })
  const [forced, stale, unknown, odd] = await Promise.all([
    lock('force-release', name, '--note', 'n', '--fence', '2'),
    lock('renew', name, '--fence', '1', ...proof),
    lock('force-release', lockName(), '--note', 'n'),
    lock('acquire', name, '--ttl', '5 parsecs'),
  ])
  expect(forced).toMatchObject({ code: 0, stdout: `${name} is free\n` })
  expect([stale.code, unknown.code, odd.code]).toEqual([1, 3, 2])
  expect((await api.get('/v1/audit')).body.entries).toContainEqual(
    expect.objectContaining({ action: 'lock.force_release', subject: name }),
  )
})

test('run: the command has the lock and its fence; its exit code is ours, and the lock is free', async () => {
  const { look, run, claimant } = await start()
  const script = 'echo "$UNDERSTUDY_LOCK_NAME $UNDERSTUDY_LOCK_FENCE"; cat; exit 7'
  const before = claimant()
  await before.release(await before.take())
  const { exited } = run(script)
  const { name } = await look()
  expect(await exited).toEqual({ code: 7, stdout: `${name} 2\n`, stderr: '' })
  expect(await look()).toMatchObject({ state: 'free', fence: 2 })
})

test('run: what another has is waited for, or the command is not started', async () => {
  const { run, claimant } = await start()
  const holder = claimant()
  const fence = await holder.take()
  const refused = await run('touch started', []).exited
  expect(refused).toMatchObject({ code: 75, stderr: expect.stringContaining('lock_held') })
  const waits = run('echo now', ['--wait', '10m'])
  await holder.release(fence)
  expect(await waits.exited).toMatchObject({ code: 0, stdout: 'now\n' })
})

test('run: a command that cannot be started leaves the lock free', async () => {
  const { env, name, look } = await start()
  const { code, stderr } = await cli(['lock', 'run', name, '--', '/nowhere/to/be/found'], { env })
  expect([code, stderr]).toEqual([127, expect.stringContaining('/nowhere/to/be/found')])
  expect((await look()).state).toBe('free')
})

test('run: signals are for the command; what it leaves behind ends before the lock is free', async () => {
  const { run, look } = await start()
  const { child, pid, exited, folder } = run(
    `trap 'exit 9' TERM; sh -c 'echo $$ > pid; trap "" TERM; while :; do sleep 0.05; done' &
    echo 1 > ready; while :; do sleep 0.05; done`,
    ['--grace', '200ms'],
  )
  const left = await pid()
  await untilFile(join(folder, 'ready'))
  child.kill('SIGTERM')
  expect((await exited).code).toBe(9)
  // Killed before the lock was free; init may take a while to bury it.
  await untilDead(left)
  expect((await look()).state).toBe('free')
})

test('run: SIGQUIT is for the command, too', async () => {
  const { run, look } = await start()
  const { child, pid, exited } = run(
    `trap 'exit 9' QUIT; echo $$ > pid; while :; do sleep 0.05; done`,
  )
  await pid()
  child.kill('SIGQUIT')
  expect((await exited).code).toBe(9)
  expect((await look()).state).toBe('free')
})

const stubborn = `trap '' TERM; sh -c 'trap "" TERM; echo $$ > pid; while :; do sleep 0.05; done' & wait; wait`

test('run: a lock that is taken away stops the whole group, also what ignores SIGTERM', async () => {
  const { api, name, run } = await start()
  const { pid, exited } = run(stubborn, ['--ttl', '15s'])
  const running = await pid()
  await api.post(`/v1/locks/${name}/force-release`, { note: 'n' })
  expect(await exited).toMatchObject({
    code: 76,
    stderr: expect.stringContaining('no longer ours'),
  })
  await untilDead(running)
})

test('invariant 8: run: a command whose lock cannot be renewed is gone before another may have it', async () => {
  const { app, name, run } = await start()
  // It says itself when it was last alive, by the clock of this machine, which is Postgres' too.
  const breathe = `trap '' TERM; echo $$ > pid; while :; do date +%s%3N > now && mv now last; sleep 0.02; done`
  const { folder, pid, exited } = run(breathe, ['--ttl', '15s'])
  await pid()
  await app.stop()
  expect(await exited).toMatchObject({ code: 76, stderr: expect.stringContaining('no replica') })
  const [{ expires_at } = { expires_at: '' }] = await db.sql<{ expires_at: string }>(
    'SELECT expires_at FROM locks WHERE name = $1',
    [name],
  )
  const last = Number(readFileSync(join(folder, 'last'), 'utf8'))
  expect(last).toBeLessThan(Date.parse(expires_at))
})

test('run: the command outlives the replica that gave it the lock', async () => {
  const { app, env, name } = await start()
  const { api: other } = await startReplica(db)
  await other.untilReady()
  const script = 'trap "exit 0" TERM; echo $$ > pid; while :; do sleep 0.05; done'
  const both = { ...env, UNDERSTUDY_URLS: `${env.UNDERSTUDY_URLS},${other.url}` }
  const { pid, child, exited } = runUnder(both, name, script, ['--ttl', '15s'])
  await pid()
  await app.stop()
  const look = async () => (await other.must(200, other.get(`/v1/locks/${name}`))).body.lock
  const { renewed_at, fence } = await look()
  const isRenewed = async () => {
    const lock = await look()
    expect(lock).toMatchObject({ state: 'held', fence })
    return Date.parse(lock.renewed_at) > Date.parse(renewed_at)
  }
  while (!(await isRenewed())) await pause()
  child.kill('SIGTERM')
  expect((await exited).code).toBe(0)
})
