import { expect, test } from 'vitest'
import { Lanes } from '../../src/services/lane.ts'

const forAll = new Error('for all')
const forOne = new Error('for one')
const start = () => new Lanes((error) => error === forAll)

function fails(error: Error): () => Promise<never> {
  return () => Promise.reject(error)
}

test('one that fails for a reason of its own fails alone', async () => {
  const lanes = start()
  const all = [lanes.run('a', fails(forOne)), lanes.run('a', async () => 'ran')]
  const [first, second] = await Promise.allSettled(all)
  expect([first, second]).toMatchObject([{ reason: forOne }, { value: 'ran' }])
})

test('one that fails for all fails those behind it, of its key, and nobody who comes later', async () => {
  const lanes = start()
  let ran = 0
  const run = async () => {
    ran += 1
  }
  const later: Promise<void>[] = []
  const first = lanes.run('a', fails(forAll)).catch((error) => {
    later.push(lanes.run('a', run))
    throw error
  })
  const behind = [lanes.run('a', run), lanes.run('a', run)]
  const other = lanes.run('b', run)
  const reasons = (await Promise.allSettled([first, ...behind])).map((each) => each.status)
  expect(reasons).toEqual(['rejected', 'rejected', 'rejected'])
  await Promise.all([other, ...later])
  expect(ran).toBe(2)
})
