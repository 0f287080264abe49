import { expect, test } from 'vitest'
import { errorTable } from '../../src/errors.ts'
import { type Standing, type Surface, standingOf, standings } from '../../src/http/standing.ts'

/** The table of DESIGN 4, as statuses. Columns: live, ready, active, replica routes, executor
 *  routes, and what is done to the leader. */
const design: Record<Standing, [number, number, number, number, number, number]> = {
  standby: [200, 200, 503, 200, 503, 503],
  recovering: [200, 200, 200, 200, 503, 200],
  active: [200, 200, 200, 200, 200, 200],
  draining: [200, 503, 503, 200, 503, 503],
  database_unreachable: [200, 503, 503, 503, 503, 503],
  database_refused: [200, 503, 503, 503, 503, 503],
  schema_behind: [200, 503, 503, 503, 503, 503],
  schema_ahead: [200, 503, 503, 503, 503, 503],
}

const surfaces: Surface[] = ['live', 'ready', 'active', 'replica', 'executor', 'leader']

test.each(Object.entries(design) as [Standing, number[]][])('%s', (standing, statuses) => {
  const answers = surfaces.map((surface) => standings[standing][surface])
  expect(answers.map((answer) => (answer === 'served' ? 200 : errorTable[answer].status))).toEqual(
    statuses,
  )
})

test('invariant 12: only the active serves executors, whatever else is true', () => {
  for (const [standing, answers] of Object.entries(standings)) {
    expect(answers.executor === 'served').toBe(standing === 'active')
  }
})

test.each([
  ['standby', { isReachable: true, schema: 'fits' }, 'standby'],
  ['standby', { isReachable: false, schema: 'fits' }, 'database_unreachable'],
  ['standby', { isReachable: false, schema: undefined }, 'database_unreachable'],
  ['active', { isReachable: false, schema: 'fits' }, 'active'],
  ['recovering', { isReachable: false, schema: 'fits' }, 'recovering'],
  ['standby', { isReachable: true, schema: 'behind' }, 'schema_behind'],
  ['active', { isReachable: true, schema: 'ahead' }, 'schema_ahead'],
  ['standby', { isReachable: true, schema: 'fits', refusals: ['x'] }, 'database_refused'],
  ['standby', { isReachable: false, schema: 'behind', refusals: ['x'] }, 'database_refused'],
  ['draining', { isReachable: false, schema: 'behind', refusals: ['x'] }, 'draining'],
] as const)('%s with %o stands as %s', (state, watch, standing) => {
  expect(standingOf(state, { refusals: [], ...watch })).toBe(standing)
})
