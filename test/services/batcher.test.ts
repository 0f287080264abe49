import { expect, test } from 'vitest'
import { Batcher } from '../../src/services/batcher.ts'

/** A batcher whose flushes end when the test says so. */
function start(maxWeight: number, maxWaiting: number) {
  const flushed: number[][] = []
  let finish: (() => void) | undefined
  const batcher = new Batcher<number, number>({
    weigh: (item) => item,
    maxWeight,
    maxWaiting,
    flush: async (items) => {
      flushed.push(items)
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      return items
    },
  })
  const next = async () => {
    finish?.()
    await new Promise(setImmediate)
  }
  return { batcher, flushed, next }
}

test('what waits while a flush is in flight goes together, up to the weight of one flush', async () => {
  const { batcher, flushed, next } = start(10, 100)
  const answers = [batcher.add(1)]
  await new Promise(setImmediate)
  for (const item of [4, 5, 6, 20, 1]) answers.push(batcher.add(item))
  for (let flush = 0; flush < 5; flush += 1) await next()
  expect(flushed).toEqual([[1], [4, 5], [6], [20], [1]])
  expect(await Promise.all(answers)).toEqual([1, 4, 5, 6, 20, 1])
})

test('more than may wait is refused as overloaded; what is heavier than that goes when nobody waits', async () => {
  const { batcher, next } = start(10, 10)
  const first = batcher.add(50)
  await new Promise(setImmediate)
  const second = batcher.add(10)
  expect(() => batcher.add(1)).toThrow(expect.objectContaining({ code: 'overloaded' }))
  await next()
  await next()
  expect(await Promise.all([first, second])).toEqual([50, 10])
})

test('with spacing, who comes first goes at once, and those who come soon after share the next flush', async () => {
  const seen: unknown[] = []
  const batcher = new Batcher<number, number>({
    maxWeight: 10,
    maxWaiting: 100,
    spacingMs: 40,
    flush: async (items) => {
      seen.push(items)
      return items
    },
  })
  // Timers end in the order in which they are due, however slow the machine is.
  setTimeout(() => seen.push('a while'), 20)
  await batcher.add(1)
  const later = [batcher.add(2)]
  // Without spacing it would have been flushed by itself meanwhile.
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve()
  later.push(batcher.add(3))
  expect(await Promise.all(later)).toEqual([2, 3])
  expect(seen).toEqual([[1], 'a while', [2, 3]])
})
