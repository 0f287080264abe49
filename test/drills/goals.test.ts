import { expect, test } from 'vitest'
import type { Figures } from './figures.ts'
import { compareWithGoals } from './goals.ts'
import type { DrillResult } from './run-drill.ts'

const run = (executors: number | null): Figures => ({
  ...{ fault: 'kill -9', target: 'a', failed_submits: 0, failed_tries: 0, lost: 0 },
  gap_ms: { executors, balanced_executors: 900, submitters: 1, balanced_submitters: 1 },
  executor_gap_ms: { p50: 1, max: 1 },
  ...{ granted_ms: 1, promoted_ms: 2, served_ms: 3 },
})

const resultOf = (runs: Figures[]): DrillResult => ({
  ...{ drill: 'kill-active', ok: true, complaints: [], violations: [], counterexamples: [] },
  ...{ runs, ends: {}, reclaims: 0, events: 1, seconds: 1, notes: [], folder: '' },
})

test('a goal is compared with its share of the runs; a drill that was not run has none', () => {
  const lines = compareWithGoals([resultOf([run(100), run(140), run(600)])])
  expect(lines.map((line) => line.slice(0, 6).trim())).toEqual(['kept', 'MISSED', 'kept', 'kept'])
  expect(lines.join()).not.toContain('hand-over')
})

test('an executor that was never served again keeps no goal', () => {
  const [first] = compareWithGoals([resultOf([run(null), run(null)])])
  expect(first).toMatch(/^MISSED .*Infinity/)
})
