import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startActive } from '../support/replica.ts'
import { clientOf, isAlive, runAgent, startAgent, untilFile } from './start-agent.ts'

/** Agents and commands that end without a word, or find somebody in their place. */

const db = useDatabase()
const endless = 'echo $$ > started; exec sleep 100'

test('two agents of one id: the older stops its command, exits with 1 and never comes back', async () => {
  const older = await startAgent(db, endless)
  const { api, client, queue } = older
  const { job } = await client.submit({ kind: 'x', queue, max_attempts: 1 })
  const pid = Number(await untilFile(join(older.folder, 'started')))
  const newer = runAgent([api.url], queue, 'echo 7')
  expect(await older.exited).toBe(1)
  expect(isAlive(pid)).toBe(false)
  expect(JSON.parse(older.lines.at(-1) ?? '')).toMatchObject({ error: { code: 'stale_epoch' } })
  const ended = await client.waitForJob(job.id, 20_000)
  expect(ended).toMatchObject({ state: 'succeeded', result: 7, attempt: 1, lost_leases: 1 })
  expect(newer.events.fired.filter(({ type }) => type === 'registered')).toHaveLength(1)
  expect((await api.get(`/v1/executors/${queue}`)).body.epoch).toBe(2)
  const { attempts, late_reports } = await client.listAttempts(job.id)
  expect(attempts).toMatchObject([
    { outcome: 'lost', epoch: 1 },
    { outcome: 'succeeded', epoch: 2 },
  ])
  expect(late_reports).toEqual([])
})

test('invariant 11: an agent killed with -9 costs its job no attempt: its next process gets it back', async () => {
  const { api, client, queue, folder, child, exited } = await startAgent(db, endless)
  const { job } = await client.submit({ kind: 'x', queue, max_attempts: 1 })
  const pid = Number(await untilFile(join(folder, 'started')))
  onTestFinished(() => void process.kill(-pid, 'SIGKILL'))
  child.kill('SIGKILL')
  await exited
  expect(await client.getJob(job.id)).toMatchObject({ state: 'leased', fence: 1 })
  runAgent([api.url], queue, 'echo 7')
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'succeeded',
    result: 7,
    attempt: 1,
    lost_leases: 1,
  })
})

test('invariant 11: an agent killed with -9 that stays away: another gets its job after the lease', async () => {
  const { api } = await startActive(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '50' })
  const client = clientOf(api)
  const queue = `q-${randomUUID().slice(0, 8)}`
  const agent = runAgent([api.url], queue, endless)
  const { job } = await client.submit({ kind: 'x', queue, max_attempts: 1 })
  const pid = Number(await untilFile(join(agent.folder, 'started')))
  onTestFinished(() => void process.kill(-pid, 'SIGKILL'))
  agent.child.kill('SIGKILL')
  await agent.exited
  const epoch = await api.register(`${queue}-2`, { queues: [queue] })
  const polled = api.poll(`${queue}-2`, epoch, { wait_ms: 20_000 })
  let isPolled = false
  const onPolled = () => {
    isPolled = true
  }
  polled.then(onPolled, onPolled)
  const past = "clock_timestamp() - interval '1 s'"
  // Its last heartbeat may come late, and a replica that stalls on a busy machine raises the floor again.
  while (!isPolled) {
    await db.sql(
      `UPDATE jobs SET lease_expires_at = ${past} WHERE id = $1 AND fence = 1 AND state = 'leased'`,
      [job.id],
    )
    await db.sql(`UPDATE terms SET deadline_floor_at = ${past}`)
    await pause()
  }
  expect(await polled).toMatchObject([{ job_id: job.id, attempt: 1, fence: 3 }])
  expect(await client.getJob(job.id)).toMatchObject({ executor_id: `${queue}-2`, lost_leases: 1 })
})

test('a command killed from outside fails its job, which names the signal', async () => {
  const { client, queue, folder } = await startAgent(db, endless)
  const { job } = await client.submit({ kind: 'x', queue, max_attempts: 1 })
  process.kill(Number(await untilFile(join(folder, 'started'))), 'SIGKILL')
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'failed',
    error: { code: 'killed', message: 'killed by SIGKILL' },
  })
})

/** The most memory that a process has had, in MB. */
function peakOf(pid: number): number {
  const [, kB] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kB) / 1_024
}

const lines = `yes '{"noise":"${'x'.repeat(100)}"}' | head -c 300000000`
const oneLine = 'head -c 300000000 /dev/zero'

test.each([
  ['300 MB of JSON lines on stdout', `${lines}; echo; echo 7`],
  ['300 MB without an end of line on stdout', `${oneLine}; echo; echo 7`],
  ['300 MB on a stderr that is read slowly', `${oneLine} >&2; echo 7`],
])('%s: it is not held in memory, and the last line is the result', async (_name, command) => {
  const env = { NODE_OPTIONS: '--max-old-space-size=64' }
  const slowly = 'while [ $(head -c 2000000 | wc -c) -gt 0 ]; do sleep 0.02; done'
  const starter = ['bash', '-c', `exec "$@" 2> >(${slowly})`, 'bash']
  const { api, client, queue, child } = await startAgent(db, command, { env, starter })
  while ((await api.get(`/v1/executors/${queue}`)).status !== 200) await pause()
  const before = peakOf(child.pid ?? 0)
  const { job } = await client.submit({ kind: 'x', queue, max_attempts: 1 })
  expect(await client.waitForJob(job.id, 50_000)).toMatchObject({ state: 'succeeded', result: 7 })
  expect(peakOf(child.pid ?? 0) - before).toBeLessThan(100)
})
