import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startActive, startReplica } from '../support/replica.ts'
import { manual, Pipelines } from '../support/stages.ts'

const db = useDatabase()

test('between two stages the active is lost: the job is in the next one, once, and what was owned is still owned', async () => {
  const first = await startActive(db)
  const second = await startReplica(db)
  await second.events.wait('standing')
  const queue = randomUUID()
  const executor = randomUUID()
  const epoch = await first.api.register(executor, { queues: [queue] })
  const before = new Pipelines(first.api, queue, executor, epoch)
  const job = await before.submit([{ name: 'a' }, { name: 'b' }, manual('c')])
  const held = await before.hold()
  await before.report(held, 'succeeded', { result: 1 })
  const owned = await before.submit([manual('x'), manual('y')])
  const { token } = (await before.begin(owned.id, 'x')).body
  await first.app.stop()
  await second.api.untilActive()
  const on = before.as(second.api)
  // Its answer was lost.
  expect(await on.report(held, 'succeeded', { result: 1 })).toMatchObject({ status: 'duplicate' })
  expect(await on.work(2)).toMatchObject({ stage: 'b', results: { a: 1 } })
  expect(await second.api.job(job.id)).toMatchObject({
    stage: 'c',
    waiting_for: 'decision',
    move: 2,
  })
  expect((await on.transition(owned.id, 'x', 'y')).body.code).toBe('transition_owned')
  expect((await on.commit(owned.id, token, 'y')).body.job).toMatchObject({ stage: 'y' })
})
