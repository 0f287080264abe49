import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { clientOf, runAgent, untilFile } from '../agent/start-agent.ts'
import { clockAt } from '../drills/stage/clock-at.ts'
import type { Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { type ServeProcess, startServe } from '../support/processes.ts'

/** Replicas and executors whose wall clocks are 20 minutes apart. That of Postgres is right. */

const db = useDatabase()
const [fast, slow] = ['+600s', '-600s']
const minute = 60_000
const directions = [
  [fast, slow],
  [slow, fast],
] as [string, string][]

/** How far ahead a replica's clock is, by what it logs. */
function aheadMs({ lines }: ServeProcess): number {
  return Date.parse(lines[0]?.time ?? '') - Date.now()
}

async function serve(offset: string): Promise<ServeProcess> {
  const env = { ...clockAt(offset), UNDERSTUDY_SWEEP_INTERVAL_MS: '50' }
  const replica = await startServe(db, offset === fast ? 'fast' : 'slow', env)
  expect(Math.abs(aheadMs(replica) - Number.parseInt(offset, 10) * 1_000)).toBeLessThan(2 * minute)
  return replica
}

/** The active with one clock, alone or with a standby with another. */
async function start(...offsets: string[]) {
  const [active, standby] = await serveEach(offsets)
  const queue = `q-${randomUUID().slice(0, 8)}`
  return { active: active as ServeProcess, standby: standby as ServeProcess, queue }
}

async function serveEach(offsets: string[]): Promise<ServeProcess[]> {
  const replicas: ServeProcess[] = []
  for (const offset of offsets) {
    const replica = await serve(offset)
    if (replicas.length === 0) await replica.api.untilActive()
    replicas.push(replica)
  }
  return replicas
}

const command = 'echo $$ > started; until [ -e go ]; do sleep 0.02; done; date +%s'

/** From now on nothing but its own expiry protects a lease. */
const passFloor = "UPDATE terms SET deadline_floor_at = clock_timestamp() - interval '1 hour'"

async function untilSwept(api: Api, name: string, times = 3) {
  const runs = async () => {
    const { sweeps } = (await api.get('/v1/status')).body
    return sweeps.find((sweep: { name: string }) => sweep.name === name)?.runs ?? 0
  }
  const until = (await runs()) + times
  while ((await runs()) < until) await pause()
}

test.each(directions)(
  'invariant 8: from a leader at %s to one at %s no lease ends early, wherever its executor’s clock is',
  async (first, second) => {
    const { active, standby, queue } = await start(first, second)
    const urls = [active.api.url, standby.api.url]
    const client = clientOf(active.api, standby.api)
    const agents = [fast, slow].map((offset) => {
      const id = `${queue}${offset.replace('+', '.')}`
      return { ...runAgent(urls, id, command, { env: clockAt(offset) }), id }
    })
    const jobs = await Promise.all(
      agents.map(async ({ id, folder }) => {
        const { job } = await client.submit({ kind: 'x', queue: id, max_attempts: 1 })
        await untilFile(join(folder, 'started'))
        return job.id
      }),
    )
    await db.sql(passFloor)
    await untilSwept(active.api, 'expire_leases')
    active.process.kill('SIGKILL')
    await standby.api.untilActive()
    await db.sql(passFloor)
    await untilSwept(standby.api, 'expire_leases')
    for (const { folder } of agents) await writeFile(join(folder, 'go'), '')
    const ended = await Promise.all(jobs.map((id) => client.waitForJob(id, 30_000)))
    for (const job of ended) {
      expect(job).toMatchObject({ state: 'succeeded', fence: 1, attempt: 1, lost_leases: 0 })
    }
    const [later = 0, earlier = 0] = ended.map(({ result }) => Number(result) * 1_000)
    expect(later - earlier).toBeGreaterThan(18 * minute)
  },
)

test.each([fast, slow])(
  'invariant 8: under a leader at %s jobs are given when they are due by the clock of Postgres',
  async (offset) => {
    const { active, queue } = await start(offset)
    const { api } = active
    const executor = `${queue}-e`
    const epoch = await api.register(executor, { queues: [queue] })
    const early = [
      await api.submit({ queue, run_at: await inFuture('5 minutes') }),
      await api.submit({ queue, delay_ms: 5 * minute }),
    ]
    const due = await api.submit({ queue, delay_ms: 300, backoff: { base_ms: 300, factor: 1 } })
    const [given] = await api.poll(executor, epoch, { max: 10, wait_ms: 20_000 })
    expect(given).toMatchObject({ job_id: due.id, attempt: 1 })
    const failure = { job_id: due.id, fence: given?.fence, outcome: 'failed' }
    await api.report(executor, epoch, failure)
    const again = await api.poll(executor, epoch, { max: 10, wait_ms: 20_000 })
    expect(again).toMatchObject([{ job_id: due.id, attempt: 2 }])
    const inTime = 'SELECT leased_at >= run_at AS is_in_time FROM jobs WHERE id = $1'
    expect(await db.sql(inTime, [due.id])).toEqual([{ is_in_time: true }])
    for (const { id } of early)
      expect(await api.job(id)).toMatchObject({ scheduled: true, fence: 0 })
  },
)

test('invariant 8: a token ends by the clock of Postgres, on replicas at +10 and -10 minutes alike', async () => {
  const { active, standby } = await start(fast, slow)
  const inAWhile = await tokenFor(active.api, '5 minutes')
  const soon = await tokenFor(standby.api, '3 seconds')
  for (const { api } of [active, standby]) {
    expect((await api.as(inAWhile).get('/v1/jobs')).status).toBe(200)
    while ((await api.as(soon).get('/v1/jobs')).status === 200) await pause()
    expect((await api.as(inAWhile).get('/v1/jobs')).status).toBe(200)
  }
})

/** An instant so far from now, by the clock of Postgres. */
async function inFuture(by: string): Promise<string> {
  const future = 'SELECT clock_timestamp() + $1::interval AS at'
  const [row] = await db.sql<{ at: string }>(future, [by])
  return new Date(row?.at ?? '').toISOString()
}

async function tokenFor(api: Api, validFor: string): Promise<string> {
  const token = { name: validFor, role: 'read', expires_at: await inFuture(validFor) }
  return (await api.must(201, api.post('/v1/tokens', token))).body.token
}
