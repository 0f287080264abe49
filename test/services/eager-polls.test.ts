import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { holdLane } from '../support/held-lane.ts'
import { pause } from '../support/pause.ts'
import { startPgProxy } from '../support/pg-proxy.ts'
import { startActive } from '../support/replica.ts'
import { startWork } from '../support/work.ts'

/** Polls that wait for nothing, or not for long, while there is work. */

const db = useDatabase()

/** As many executors as are asked for, whose polls come before the first claim; how much each was given. */
async function pollAtOnce(executors: number, jobs: Record<string, unknown>[]) {
  const { api, app, queue } = await startWork(db)
  for (let from = 0; from < jobs.length; from += 25) {
    const some = jobs.slice(from, from + 25).map((job) => ({ kind: 'test', queue, ...job }))
    await api.must(200, api.post('/v1/jobs/batch', { jobs: some }))
  }
  const ids = Array.from({ length: executors }, (_, n) => `${queue}-${n}`)
  const epochs = await Promise.all(ids.map((id) => api.register(id, { queues: [queue] })))
  const letGo = holdLane(app)
  const polls = ids.map((id, n) => api.poll(id, epochs[n] ?? 0))
  while (app.wiring.waitList.count('poll') < executors) await pause()
  letGo()
  return (await Promise.all(polls)).map(({ length }) => length)
}

test('200 polls at once, more than one claim serves: each is given a job', async () => {
  const given = await pollAtOnce(200, Array(300).fill({}))
  expect(given).toEqual(Array(200).fill(1))
})

test('40 polls at once, whose payloads are more than one claim brings: none is left empty', async () => {
  const given = await pollAtOnce(40, Array(45).fill({ payload: 'x'.repeat(250 * 1024) }))
  expect(given).toEqual(Array(40).fill(1))
})

test('polls for which no job is left are answered all the same', async () => {
  const given = await pollAtOnce(100, Array(70).fill({}))
  expect(given.toSorted()).toEqual([...Array(30).fill(0), ...Array(70).fill(1)])
})

test('a poll that finds nothing is not kept by what comes while it is looked for', async () => {
  const proxy = await startPgProxy(db.url, (client) => {
    client.on('data', (chunk: Buffer) => {
      if (chunk.includes('claim_jobs\0')) markReady()
    })
  })
  const { api, app } = await startActive({ url: proxy.url })
  const markReady = () => app.wiring.polls.markReady(app.wiring.catalog.classes.keys())
  const epoch = await api.register('e')
  await api.submit()
  expect(await api.poll('e', epoch, { max: 2 })).toHaveLength(1)
  expect(await api.poll('e', epoch)).toEqual([])
})
