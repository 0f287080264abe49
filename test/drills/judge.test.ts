import { expect, test } from 'vitest'
import type { Drill } from './drill.ts'
import { Act } from './history/ledger-steps.ts'
import { rowOf, Story } from './history/stories.ts'
import { judge } from './judge.ts'
import { releaseKind } from './stage/release.ts'

const drill: Drill = { name: 'any', title: 'any', promotes: false, run: async () => undefined }

/** One release, approved, deployed and committed. */
function released() {
  const s = new Story()
  s.replica('a')
  s.promote('a')
  s.register('x1')
  const row = rowOf(s.submit('one', { kind: releaseKind }).commit, 'jobs')
  Object.assign(row, { stage: 'approve', move: '2' })
  const moved = { id: 'one', kind: releaseKind, stage: 'deploy', move: '3' }
  const approved = s.write([{ table: 'jobs', kind: 'update', row: moved }])
  s.claim('x1', 'one')
  const act = new Act(s, 'one')
  act.begin('x1')
  return {
    s,
    approved: rowOf(approved, 'jobs'),
    acted: act.do(),
    settled: act.settle('x1', 'commit'),
  }
}
type Released = ReturnType<typeof released>

const noAct = 'no effect was done and committed'
const noMove = 'no release was moved to its deploy'
const ofReleases = ({ s }: Released) =>
  judge(drill, s.events, [], []).filter((told) => told === noAct || told === noMove)

test('a drill in which a release went its way has no complaint about releases', () => {
  expect(ofReleases(released())).toEqual([])
})

const idle: [title: string, complaint: string, change: (good: Released) => unknown][] = [
  ['nothing is done outside', noAct, ({ s, acted }) => s.events.splice(s.events.indexOf(acted), 1)],
  ['what is done is not committed', noAct, ({ acted }) => Object.assign(acted, { token: 'none' })],
  [
    'what is begun is given up',
    noAct,
    ({ settled }) => Object.assign(rowOf(settled.commit, 'effects'), { state: 'aborted' }),
  ],
  ['nobody approves', noMove, ({ approved }) => Object.assign(approved, { stage: 'approve' })],
  ['a job begins at its deploy', noMove, ({ approved }) => Object.assign(approved, { move: '0' })],
  ['it is no release', noMove, ({ approved }) => Object.assign(approved, { kind: 'work' })],
]

test.each(idle)('a drill in which %s is red: %s', (_, complaint, change) => {
  const good = released()
  change(good)
  expect(ofReleases(good)).toEqual([complaint])
})
