import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { type HowToStart, startExecutor } from './start-executor.ts'

const db = useDatabase()
const start = (...how: HowToStart) => startExecutor(db, ...how)

test('an executor that finds nobody to register with says so, and registers when it can', async () => {
  let isAway = true
  const { events, submit, settled } = await start({ handler: async () => 'done' }, ({ name }) =>
    isAway && name === 'register' ? { status: 502, body: '' } : undefined,
  )
  const { error } = await events.wait('trouble', ({ call }) => call === 'register')
  expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('502') })
  isAway = false
  await events.wait('registered')
  expect(await settled(await submit())).toMatchObject({ state: 'succeeded', result: 'done' })
})

test('told to drain it takes no new work, though it was waiting for some; told otherwise it does', async () => {
  let drain = false
  let beats = 0
  const { api, app, events, submit, settled } = await start(
    { handler: async () => 'done' },
    ({ name }) => {
      if (name !== 'heartbeat') return undefined
      beats += 1
      const answer = { term: 1, heartbeat_ms: 20, held: [], cancel: [], revoked: [], switches: {} }
      return { status: 200, body: JSON.stringify({ ...answer, drain }) }
    },
  )
  while (app.wiring.waitList.size === 0) await pause()
  drain = true
  await events.wait('told_to_drain')
  while (app.wiring.waitList.size > 0) await pause()
  const id = await submit()
  for (const until = beats + 5; beats < until; ) await api.get('/health/live')
  expect(await api.job(id)).toMatchObject({ state: 'available', fence: 0 })
  drain = false
  await events.wait('told_to_drain', (told) => !told.drain)
  expect(await settled(id)).toMatchObject({ state: 'succeeded', fence: 1 })
})

test('many large results at once are reported in calls that each fit into a body', async () => {
  const capacity = 60
  const mayEnd = Promise.withResolvers<void>()
  const calls: { bytes: number; reports: number }[] = []
  const { events, submit, settled } = await start(
    {
      capacity,
      handler: async () => {
        await mayEnd.promise
        return 'é'.repeat(100_000)
      },
    },
    ({ name, body }) => {
      if (name !== 'report') return undefined
      const bytes = Buffer.byteLength(JSON.stringify(body))
      calls.push({ bytes, reports: body.reports.length })
      return undefined
    },
  )
  const ids = await Promise.all(Array.from({ length: capacity }, () => submit()))
  const isStarted = (id: string) => events.wait('started', ({ job }) => job.job_id === id)
  await Promise.all(ids.map(isStarted))
  mayEnd.resolve()
  for (const id of ids) expect((await settled(id)).state).toBe('succeeded')
  expect(Math.max(...calls.map(({ bytes }) => bytes))).toBeLessThan(8 * 1_024 * 1_024)
  expect(Math.max(...calls.map(({ reports }) => reports))).toBeGreaterThan(10)
})
