import { expect, test } from 'vitest'
import { figuresOf, longestSilence, percentile } from './figures.ts'
import type { HistoryEvent } from './history/events.ts'

const at = (...times: number[]) =>
  times.map((time) => ({ at: time, actor: 'fleet-direct', executorId: 'e' }))

test('a silence is the longest time between two successes, counted from the fault at the earliest', () => {
  const window = { from: 100, until: 200 }
  expect(longestSilence(at(90, 130, 150, 190), window)).toBe(40)
  expect(longestSilence(at(90, 101, 160, 170), window)).toBe(59)
  // Nobody was served any more.
  expect(longestSilence(at(90, 105), window)).toBe(95)
  // It began within the window, and is told to its end.
  expect(longestSilence(at(110, 190, 260), window)).toBe(80)
  // What begins afterwards is not of this fault.
  expect(longestSilence(at(150, 210, 900), window)).toBe(60)
  expect(longestSilence(at(90), window)).toBe(100)
  expect(longestSilence([], window)).toBeNull()
})

test('percentiles go by nearest rank, and what is not known does not count', () => {
  const hundred = Array.from({ length: 100 }, (_, n) => n + 1)
  expect(percentile(hundred, 0.5)).toBe(50)
  expect(percentile(hundred, 0.99)).toBe(99)
  expect(percentile([7, null, 3], 1)).toBe(7)
  expect(percentile([null], 0.5)).toBeNull()
})

/** A request that was asked at `at` and answered 10 ms later. */
function request(
  time: number,
  actor: string,
  path: string,
  status: number,
  body: unknown = undefined,
): HistoryEvent[] {
  const op = `${actor}:${time}`
  return [
    {
      ...{ type: 'invoke', at: time, op, actor, method: 'POST' },
      ...{ url: 'http://x', path, body },
    },
    { type: 'answer', at: time + 10, op, status },
  ]
}

test('figures tell the gaps of each group, what failed, and the steps of the successor', () => {
  const poll = (time: number, actor = 'fleet-direct', status = 200) =>
    request(time, actor, '/v1/executors/e-1/poll', status)
  const events: HistoryEvent[] = [
    { type: 'clock', at: 0, wall: 1_000_000 },
    ...poll(80),
    { type: 'fault', at: 100, fault: 'kill -9', target: 'a', phase: 'start' },
    ...poll(120, 'fleet-direct', 503),
    ...request(125, 'submitter-balanced', '/v1/jobs', 502, { idempotency_key: 'k' }),
    { type: 'lost', at: 130, op: 'fleet-direct:120x', why: 'nobody asked for it', wasSent: true },
    { type: 'gave_up', at: 9_000, actor: 'submitter-balanced', key: 'k' },
    ...poll(290),
    ...poll(390, 'fleet-balanced'),
  ]
  const lines = [
    { wall: 1_000_050, msg: 'lock granted' },
    { wall: 1_000_150, msg: 'lock granted' },
    { wall: 1_000_180, msg: 'promoted' },
    // Of the next fault.
    { wall: 1_000_900, msg: 'active: the gate is open' },
  ]
  expect(figuresOf(events, { from: 50, until: 400 }, lines)).toEqual({
    fault: 'kill -9',
    target: 'a',
    gap_ms: {
      executors: 200,
      balanced_executors: 300,
      submitters: null,
      balanced_submitters: null,
    },
    executor_gap_ms: { p50: 200, max: 200 },
    granted_ms: 50,
    promoted_ms: 80,
    served_ms: null,
    failed_submits: 1,
    failed_tries: 1,
    lost: 0,
  })
})
