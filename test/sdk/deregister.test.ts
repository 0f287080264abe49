import { expect, test } from 'vitest'
import type { Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { startExecutor } from './start-executor.ts'

const db = useDatabase()

/** Its handler, which ends when it is told to. */
function steered() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { handler: () => promise, end: resolve }
}

const stateOf = async (api: Api, id: string) => (await api.get(`/v1/executors/${id}`)).body.state

test('an executor that ends in order deregisters, after its last report', async () => {
  const { handler, end } = steered()
  const { api, draining, events, ended, submit, executorId } = await startExecutor(db, { handler })
  const id = await submit()
  await events.wait('started')
  draining.abort()
  end()
  await ended
  expect((await api.job(id)).state).toBe('succeeded')
  // It waits for an answer for a second only; the replica may need longer.
  await expect.poll(() => stateOf(api, executorId), { timeout: 20_000 }).toBe('deregistered')
})

test('one that cannot say so ends all the same, within a second', async () => {
  let asked = 0
  const { draining, events, ended } = await startExecutor(
    db,
    { handler: async () => null },
    ({ name }) => {
      if (name !== 'deregister') return undefined
      asked += 1
      return { status: 503, body: '' }
    },
  )
  await events.wait('served')
  draining.abort()
  await ended
  expect(asked).toBeGreaterThan(0)
})

test('one that was refused, or could not report all, says nothing', async () => {
  let asked = 0
  const { api, ended, events, executorId } = await startExecutor(
    db,
    { handler: async () => null },
    ({ name }) => {
      if (name === 'deregister') asked += 1
      return undefined
    },
  )
  await events.wait('served')
  await api.register(executorId)
  await expect(ended).rejects.toMatchObject({ code: 'stale_epoch' })
  expect(asked).toBe(0)
})
