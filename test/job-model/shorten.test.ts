import { expect, test } from 'vitest'
import type { Command, Step } from './commands.ts'
import { shorten } from './shorten.ts'
import { emptinessOf } from './vacuity.ts'

const pass = (min: number): Command => ({ do: 'pass', min, isServed: true })
const minutesOf = (steps: Step[]) =>
  steps.map((step) => step.map((command) => (command.do === 'pass' ? command.min : 0)))

test('what is left of a sequence that fails is what it takes, in its order', async () => {
  const steps = Array.from({ length: 37 }, (_, n): Step => [pass(n), pass(100 + n)])
  const needs = (minutes: number[]) => (shorter: Step[]) =>
    Promise.resolve(minutes.every((min) => minutesOf(shorter).flat().includes(min)))
  const pair = await shorten(steps, needs([3, 130]))
  expect(minutesOf(pair.steps)).toEqual([[3], [130]])
  const both = await shorten(steps, needs([36, 136, 0]))
  expect(minutesOf(both.steps)).toEqual([[0], [36, 136]])
  expect(both.tries).toBeLessThan(100)
})

test('a sequence that needs all of its steps keeps them', async () => {
  const steps: Step[] = [[pass(1)], [pass(2)], [pass(3)]]
  const { steps: left } = await shorten(steps, (shorter) => Promise.resolve(shorter.length === 3))
  expect(left).toEqual(steps)
})

test('many sequences that come to nothing are no success', () => {
  expect(emptinessOf({ tally: new Map(), runs: 299 })).toEqual([])
  const [reason] = emptinessOf({ tally: new Map(), runs: 300 })
  expect(reason).toMatch(/this never happened: .*begin: in_doubt/)
})

test('many calls that were not answered are no success either', () => {
  const tally = (lost: number) =>
    new Map([
      ['poll: given', 1_000 - lost],
      ['poll: database_unavailable', lost],
    ])
  const told = (lost: number) => emptinessOf({ tally: tally(lost), runs: 300 }).join()
  expect(told(20)).toContain('2 % of the calls were not answered')
  expect(told(10)).not.toContain('not answered')
})
