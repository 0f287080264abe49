import { expect, test } from 'vitest'
import { fullJitter, jittered } from '../src/backoff.ts'
import type { Clock } from '../src/clock.ts'
import { createLog } from '../src/log.ts'
import { type LoopState, runEvery } from '../src/loop.ts'

const limits = { baseMs: 200, factor: 2, capMs: 5_000 }
const longest = [200, 400, 800, 1_600, 3_200, 5_000, 5_000]

test('pauses of a backoff grow by their factor up to their cap', () => {
  const steps = longest.map((_, retry) => fullJitter(retry, limits, () => 1))
  expect(steps).toEqual(longest)
  // However often it has failed, and a factor to that power is no number any more.
  expect(fullJitter(5_000, limits, () => 1)).toBe(5_000)
})

test('they lie anywhere between nothing and that', () => {
  for (const random of [0, 0.25, 0.5]) {
    const pauses = longest.map((_, retry) => fullJitter(retry, limits, () => random))
    expect(pauses).toEqual(longest.map((ms) => ms * random))
  }
})

test('jitter goes both ways, and no further than its share', () => {
  expect([0, 0.5, 1].map((random) => jittered(1_000, 0.1, () => random))).toEqual([
    900, 1_000, 1_100,
  ])
})

/** Runs a loop that fails as often as it is told, and returns how long it paused after each run. */
async function pausesOf(fails: readonly boolean[]) {
  const pauses: number[] = []
  const states: LoopState[] = []
  const over = new AbortController()
  const clock: Clock = {
    monotonic: () => 0,
    sleep: async (ms) => {
      pauses.push(ms)
      if (pauses.length === fails.length) over.abort()
    },
  }
  const options = {
    name: 'loop',
    intervalMs: 60_000,
    signal: over.signal,
    clock,
    log: createLog('silent'),
  }
  await runEvery({ ...options, onState: (state) => states.push(state) }, async () => {
    if (fails[pauses.length]) throw new Error('planted')
    return { counts: {} }
  })
  return { pauses, states }
}

test('a loop that fails is repeated after pauses that grow and are capped; a run that ends well starts anew', async () => {
  const greatest: number[] = longest.map(() => 0)
  const fails = [...longest.map(() => true), false, true]
  // Of so many draws the greatest comes close to what is the most.
  for (let round = 0; round < 200; round += 1) {
    const { pauses, states } = await pausesOf(fails)
    pauses.slice(0, longest.length).forEach((ms, at) => {
      expect(ms).toBeLessThanOrEqual(longest[at] ?? 0)
      greatest[at] = Math.max(greatest[at] ?? 0, ms)
    })
    const [wellMs = 0, anewMs = 0] = pauses.slice(longest.length)
    expect(Math.abs(wellMs - 60_000)).toBeLessThanOrEqual(6_000)
    expect(anewMs).toBeLessThanOrEqual(200)
    expect(states.at(-1)).toMatchObject({ runs: 1, failures: 8, last_error: 'planted' })
    expect(states.at(-2)).toMatchObject({ last_error: null })
  }
  for (const [at, ms] of greatest.entries()) {
    expect(ms).toBeGreaterThan((longest[at] ?? 0) / 2)
  }
})
