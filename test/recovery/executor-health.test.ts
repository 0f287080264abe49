import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { Worker } from '../support/health.ts'
import { startActive, startReplica, type TestReplica } from '../support/replica.ts'

const db = useDatabase()

/** What an executor may be given survives a promotion, from the first poll on. */

async function startPair() {
  const first = await startActive(db)
  const second = await startReplica(db)
  return { first, second }
}

async function failOver({ first, second }: { first: TestReplica; second: TestReplica }) {
  await second.events.wait('standing')
  await db.terminate(`understudy ${first.app.identity.name} lock`)
  await second.events.wait('promoted')
  await second.api.untilActive()
}

const register = async (api: TestReplica['api'], name: string) =>
  new Worker(api, name, name, await api.register(name, { queues: [name] }))

test('degraded, faulty, draining and deregistered survive a promotion', async () => {
  const pair = await startPair()
  const { api } = pair.first
  const degraded = await register(api, 'degraded')
  await degraded.work('failed', 3)
  await degraded.work('succeeded', 4)
  await degraded.submit(3)
  const [held] = await degraded.poll()
  const faulty = await register(api, 'faulty')
  await faulty.work('failed', 13)
  const drained = await register(api, 'drained')
  await drained.post('drain')
  const leaving = await register(api, 'leaving')
  await leaving.post('drain', { epoch: leaving.epoch })
  const gone = await register(api, 'gone')
  await gone.post('deregister', { epoch: gone.epoch })
  await failOver(pair)
  for (const worker of [degraded, faulty, drained, leaving, gone]) worker.api = pair.second.api

  expect(await degraded.poll()).toEqual([])
  for (const worker of [faulty, drained, leaving]) {
    await worker.submit()
    expect(await worker.poll()).toEqual([])
  }
  expect((await pair.second.api.heartbeat('drained', drained.epoch)).drain).toBe(true)
  expect((await pair.second.api.heartbeat('leaving', leaving.epoch)).drain).toBe(true)
  expect((await gone.post('heartbeat', { epoch: gone.epoch })).body.code).toBe('stale_epoch')
  expect((await gone.post('poll', { epoch: gone.epoch + 1, wait_ms: 0 })).body.code).toBe(
    'stale_epoch',
  )
  expect((await gone.post('deregister', { epoch: gone.epoch })).status).toBe(200)

  // The fifth success, of what it was given by the term before.
  await degraded.report('succeeded', held)
  expect(await degraded.get()).toMatchObject({ health: 'healthy' })
  expect(await degraded.poll()).toHaveLength(2)
  await faulty.post('clear')
  expect(await faulty.poll()).toHaveLength(1)
  await drained.post('drain', { enabled: false })
  expect(await drained.poll()).toHaveLength(1)
})
