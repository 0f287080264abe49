import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { findFreePort } from '../../src/dev/ports.ts'
import { Client, Executor } from '../../src/sdk/index.ts'
import type { Balancer } from '../drills/stage/balancer.ts'
import { Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { launchServe, startServe, tellApart } from '../support/processes.ts'
import { adminToken } from '../support/replica.ts'
import { Signals } from '../support/signals.ts'
import { balance } from './stand-in.ts'

/** Real replicas behind a real HAProxy: kill -9, SIGSTOP and SIGTERM, as clients see them that know nothing but
 *  the balancer. Times are printed, safety is asserted. */

const db = useDatabase()

async function startPair() {
  const [left, right] = await Promise.all([startServe(db, 'left'), startServe(db, 'right')])
  const balancer = await balance([left.api.url, right.api.url])
  const { active, standby } = await tellApart([left, right])
  const server = `active/${active === left ? 'one' : 'two'}` as const
  await balancer.untilState(server, (state) => state === 'UP')
  const api = new Api(balancer.url, adminToken)
  return { active, standby, balancer, server, api, queue: `q-${randomUUID().slice(0, 8)}` }
}

function connect({ url }: Pick<Balancer, 'url'>): Client {
  const client = new Client({ urls: [url], token: adminToken, patienceMs: 40_000 })
  onTestFinished(() => client.close())
  return client
}

/** An executor of the SDK, whose jobs wait until they are let go. */
function runExecutor({ url }: Pick<Balancer, 'url'>, queue: string) {
  const stopping = new AbortController()
  const signals = new Signals<{ type: 'started' } | { type: 'go' }>()
  const executor = new Executor({
    urls: [url],
    token: adminToken,
    executorId: `e-${queue}`,
    queues: [queue],
    handler: async ({ job }) => {
      signals.fire({ type: 'started' })
      await signals.wait('go')
      return job.payload
    },
  })
  const ended = executor.run(new AbortController().signal, stopping.signal)
  onTestFinished(async () => {
    stopping.abort()
    await ended.catch(() => undefined)
  })
  return signals
}

function printSince(what: string, since: number) {
  process.stdout.write(`  ${what}: ${Math.round(performance.now() - since)} ms\n`)
}

test.each(['SIGKILL', 'SIGSTOP', 'SIGTERM'] as const)(
  '%s of the active: an executor and a client that know the balancer alone go on, and the job is done once',
  async (signal) => {
    const { active, balancer, queue } = await startPair()
    const client = connect(balancer)
    const { job } = await client.submit({ kind: 'x', queue, payload: { n: 1 }, max_attempts: 1 })
    const executor = runExecutor(balancer, queue)
    await executor.wait('started')
    active.process.kill(signal)
    const since = performance.now()
    const next = await client.submit({ kind: 'x', queue, payload: { n: 2 }, max_attempts: 1 })
    printSince(`${signal}: a submit was served after`, since)
    executor.fire({ type: 'go' })
    for (const { id } of [job, next.job]) {
      expect(await client.waitForJob(id, 40_000)).toMatchObject({
        state: 'succeeded',
        attempt: 1,
        lost_leases: 0,
      })
    }
    printSince(`${signal}: both jobs were done after`, since)
  },
)

test('kill -9 of the active: the next heartbeat is answered by its successor', async () => {
  const { active, standby, api, queue } = await startPair()
  const epoch = await active.api.register(queue, { queues: [queue] })
  active.process.kill('SIGKILL')
  const since = performance.now()
  let refused = 0
  const beat = () => api.post(`/v1/executors/${queue}/heartbeat`, { epoch, assignments: [] })
  let answer = await beat().catch(() => undefined)
  for (; answer?.status !== 200; refused += 1) answer = await beat().catch(() => undefined)
  printSince(`kill -9: a heartbeat was answered, after ${refused} refusals`, since)
  expect((await standby.api.get('/health/active')).status).toBe(200)
})

/** A poll that waits at the active. Its end may be that of the connection, too: HAProxy 3.2 answers nothing where
 *  one has served before. */
async function park(
  { balancer, server, queue }: Awaited<ReturnType<typeof startPair>>,
  epoch: number,
) {
  for (;;) {
    let hasEnded = false
    const ended = fetch(`${balancer.url}/v1/executors/${queue}/poll`, {
      method: 'POST',
      headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({ epoch, wait_ms: 25_000 }),
    })
      .catch(() => undefined)
      .finally(() => {
        hasEnded = true
      })
    while (!hasEnded && (await balancer.count(server, 'scur')) === 0) await pause()
    // On a busy machine HAProxy may take the active for dead just now, and be right about it.
    if (!hasEnded) return { ended }
  }
}

test('a poll that is parked at a replica which freezes is ended by the balancer, without a body', async () => {
  const pair = await startPair()
  const { active, queue } = pair
  const epoch = await active.api.register(queue, { queues: [queue] })
  const { ended } = await park(pair, epoch)
  active.process.kill('SIGSTOP')
  const since = performance.now()
  const answer = await ended
  printSince('SIGSTOP: a parked poll was ended after', since)
  expect([502, 503, undefined]).toContain(answer?.status)
  expect(await answer?.text()).toBe(answer && '')
})

test('a submit waits until there is a replica, and makes one job', async () => {
  const ports = [await findFreePort(), await findFreePort()] as const
  const balancer = await balance([`http://127.0.0.1:${ports[0]}`, `http://127.0.0.1:${ports[1]}`])
  for (const server of ['ready/one', 'ready/two'] as const) {
    await balancer.untilState(server, (state) => state === 'DOWN')
  }
  const refused = new Promise<string>((resolve) => {
    balancer.onLog((line) => line.includes('POST /v1/jobs 503') && resolve(line))
  })
  const queue = `q-${randomUUID().slice(0, 8)}`
  const submitted = connect(balancer).submit({ kind: 'x', queue })
  await refused
  await launchServe(db, 'late', {}, ports[1])
  const { job } = await submitted
  expect(await db.sql('SELECT id FROM jobs WHERE queue = $1', [queue])).toEqual([{ id: job.id }])
})
