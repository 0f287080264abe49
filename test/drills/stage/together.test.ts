import { once } from 'node:events'
import { expect, test } from 'vitest'
import { together } from './together.ts'
import { until } from './until.ts'

test('each of them ends, in their order', async () => {
  const loops = [1, 2].map((n) => async () => n)
  expect(await together(loops)).toEqual([1, 2])
})

test('the first that fails ends the others, and is told when they have ended', async () => {
  const ended: string[] = []
  const first = new Error('the first')
  const looping = together([
    async (ending) => {
      await once(ending, 'abort')
      ended.push('sleeper')
    },
    async (ending) => {
      await until('what never comes', async () => undefined, { signal: ending }).finally(() =>
        ended.push('waiter'),
      )
    },
    () => Promise.reject(first),
  ])
  await expect(looping).rejects.toBe(first)
  expect(ended.sort()).toEqual(['sleeper', 'waiter'])
})
