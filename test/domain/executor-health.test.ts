import { expect, test } from 'vitest'
import {
  afterOutcome,
  afterSilence,
  allowance,
  isCounted,
  noTrouble,
  type Standing,
  type Trouble,
} from '../../src/domain/executor-health.ts'
import type { Outcome } from '../../src/domain/lease.ts'

const letters: Record<string, Outcome> = {
  F: 'failed',
  s: 'succeeded',
  r: 'released',
  c: 'cancelled',
  l: 'lost',
  u: 'undelivered',
}

function after(outcomes: string, trouble: Trouble = noTrouble): string {
  const end = [...outcomes].reduce(
    (state, letter) => afterOutcome(state, letters[letter] as Outcome),
    trouble,
  )
  return `${end.health} ${end.failures} ${end.successes}`
}

test.each([
  ['', 'healthy 0 0'],
  ['FF', 'healthy 2 0'],
  ['FFsFF', 'healthy 2 0'],
  ['FrcluF', 'healthy 2 0'],
  ['FFF', 'degraded 0 0'],
  ['FFFrclu', 'degraded 0 0'],
  ['FFFssss', 'degraded 0 4'],
  ['FFFsssss', 'healthy 0 0'],
  ['FFFssFssFs', 'healthy 0 0'],
  ['FFFsssssFF', 'healthy 2 0'],
  ['FFFFFFFFFFFF', 'degraded 9 0'],
  ['FFFFFFFFFFFFF', 'faulty 10 0'],
  ['FFFFFFFFFFssssFFF', 'faulty 10 4'],
  ['FFFFFFFFFFFFFsssssssF', 'faulty 10 0'],
])('after the reports %s an executor is %s', (outcomes, expected) => {
  expect(after(outcomes)).toBe(expected)
})

test('only what was counted needs to be written', () => {
  const counted = (trouble: Trouble) =>
    Object.entries(letters)
      .filter(([, outcome]) => isCounted(trouble, outcome))
      .map(([letter]) => letter)
      .join('')
  expect(counted(noTrouble)).toBe('F')
  expect(counted({ health: 'healthy', failures: 1, successes: 0 })).toBe('Fs')
  expect(counted({ health: 'degraded', failures: 0, successes: 0 })).toBe('Fs')
  expect(counted({ health: 'degraded', failures: 0, successes: 4 })).toBe('Fs')
  expect(counted({ health: 'faulty', failures: 10, successes: 4 })).toBe('')
})

test.each([
  ['healthy', 15_000, 'healthy'],
  ['healthy', 15_001, 'suspect'],
  ['healthy', 30_001, 'lost'],
  ['suspect', 1, 'suspect'],
  ['suspect', 30_000, 'suspect'],
  ['suspect', 30_001, 'lost'],
  ['lost', 1, 'lost'],
  ['lost', 99_999, 'lost'],
  ['deregistered', 99_999, 'deregistered'],
] as const)('who is %s, and silent for %i ms, is %s', (state, silentMs, expected) => {
  expect(afterSilence(state, silentMs, { suspectMs: 15_000, lostMs: 30_000 })).toBe(expected)
})

test('who is given how much', () => {
  const well: Standing = {
    health: 'healthy',
    is_draining: false,
    is_deregistered: false,
    changes: 0,
  }
  const given = (standing: Partial<Standing>) => allowance({ ...well, ...standing }, 7)
  expect(given({})).toBe(7)
  expect(given({ health: 'degraded' })).toBe(1)
  expect(given({ health: 'faulty' })).toBe(0)
  expect(given({ is_draining: true })).toBe(0)
  expect(given({ is_deregistered: true })).toBe(0)
  expect(given({ health: 'degraded', is_draining: true })).toBe(0)
  expect(allowance({ ...well, health: 'degraded' }, 0)).toBe(0)
})
