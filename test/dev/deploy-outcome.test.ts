import { expect, test } from 'vitest'
import {
  deployLines,
  faultsOf,
  type Release,
  type Trouble,
  toOutcome,
} from '../../src/dev/deploy-outcome.ts'

const zero = Date.UTC(2024, 0, 1)
const at = (ms: number) => new Date(zero + ms).toISOString()

/** Both as they are when all went well; the active is killed at 100, its successor promoted at 150. */
function goodPair() {
  const first: Release = {
    version: 'v1',
    job: {
      id: 'one',
      state: 'succeeded',
      stage: 'deploy',
      move: 4,
      attempt: 2,
      finished_at: at(400),
    },
    effects: [
      {
        key: 'deploy',
        state: 'committed',
        effect_token: 't1',
        begun_at: at(90),
        settled_at: at(200),
      },
    ],
    tokens: ['t1'],
  }
  const second: Release = {
    version: 'v2',
    job: {
      id: 'two',
      state: 'cancelled',
      stage: 'deploy',
      move: 3,
      attempt: 1,
      finished_at: at(900),
    },
    effects: [
      {
        key: 'deploy',
        state: 'committed',
        effect_token: 't2',
        begun_at: at(600),
        settled_at: at(890),
      },
    ],
    tokens: ['t2'],
  }
  const trouble: Trouble = {
    killedAt: zero + 100,
    cancelled: { state: 'leased', cancel_requested_at: at(650), critical_until: at(300_600) },
    explained: 'cancel_deferred',
    sectionEndedAt: zero + 880,
  }
  return { first, second, trouble, promotedAt: [zero, zero + 150] }
}
type Pair = ReturnType<typeof goodPair>

const judge = ({ first, second, trouble, promotedAt }: Pair) =>
  faultsOf(first, second, trouble, promotedAt)

test('two releases, each deployed once, are good', () => {
  const pair = goodPair()
  expect(judge(pair)).toEqual([])
  const outcome = toOutcome([pair.first, pair.second], [], 1, [{ ms: 3, what: 'v1: build' }])
  expect(outcome.isGood).toBe(true)
  const text = deployLines(outcome).join('\n')
  expect(text).toContain('       3  v1: build')
  expect(text).toContain('ledger: deploy committed; lines outside: 1')
  expect(text).toContain('good: each was deployed exactly once')
})

const bad: [fault: string, change: (pair: Pair) => unknown][] = [
  ['v1 was deployed 2 times', ({ first }) => first.tokens.push('t1')],
  ['v2 was deployed 0 times', ({ second }) => second.tokens.pop()],
  ['under another token', ({ first }) => Object.assign(first, { tokens: ['t9'] })],
  ['the ledger has 0 acts of v1', ({ first }) => first.effects.pop()],
  ['v2 is in_doubt', ({ second }) => Object.assign(second.effects[0] ?? {}, { state: 'in_doubt' })],
  ['v1 ended failed', ({ first }) => Object.assign(first.job, { state: 'failed' })],
  ['v1 was not tried again', ({ first }) => Object.assign(first.job, { attempt: 1 })],
  ['nobody was promoted', ({ promotedAt }) => promotedAt.pop()],
  ['not begun before the kill', ({ trouble }) => Object.assign(trouble, { killedAt: zero + 50 })],
  ['v2 ended succeeded', ({ second }) => Object.assign(second.job, { state: 'succeeded' })],
  ['v2 was cancelled in test', ({ second }) => Object.assign(second.job, { stage: 'test' })],
  [
    'not deferred: cancelled',
    ({ trouble }) => Object.assign(trouble.cancelled ?? {}, { state: 'cancelled' }),
  ],
  [
    'not deferred: leased',
    ({ trouble }) => Object.assign(trouble.cancelled ?? {}, { cancel_requested_at: null }),
  ],
  [
    'not deferred: leased',
    ({ trouble }) => Object.assign(trouble.cancelled ?? {}, { critical_until: null }),
  ],
  ['not deferred', ({ trouble }) => Object.assign(trouble, { explained: 'cancel_requested' })],
  ['not deferred', ({ trouble }) => delete trouble.cancelled],
  ['before its section ended', ({ trouble }) => delete trouble.sectionEndedAt],
  ['nobody was promoted', ({ trouble }) => delete trouble.killedAt],
  ['before its section ended', ({ second }) => Object.assign(second.job, { finished_at: at(870) })],
]

test.each(bad)('is told: %s', (fault, change) => {
  const pair = goodPair()
  change(pair)
  const faults = judge(pair)
  expect(faults.join('; ')).toContain(fault)
  const outcome = toOutcome([pair.first, pair.second], faults, 0, [])
  expect(outcome.isGood).toBe(false)
  expect(deployLines(outcome).at(-1)).toContain('NOT good')
})
