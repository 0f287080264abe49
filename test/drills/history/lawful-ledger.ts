import { type LawfulStory, remove } from './bad-story.ts'
import { Act, beatAndTell, cancel, change, enter, leave } from './ledger-steps.ts'
import { leaseTtlMs, rowOf, type Story } from './stories.ts'

/** Effects and cancels that only look wrong. */
export const lawfulLedger: LawfulStory[] = [
  {
    title: 'a begin is sent again after its answer was lost, and is answered the same',
    change: ({ s, plain, begun }) => {
      remove(s.events, begun.answered)
      const again = { ...begun.asked, op: 'again', at: begun.asked.at + 2 }
      s.events.push(again)
      plain.answer(again, 'proceed').at = begun.answered.at
    },
  },
  {
    title: 'an executor dies after its begin was answered, and has done nothing',
    change: ({ s, foundAct, foundCommitted }) => {
      remove(s.events, foundAct)
      const row = rowOf(foundCommitted.commit, 'effects')
      row.state = 'aborted'
      foundCommitted.asked.path = foundCommitted.asked.path.replace('commit', 'abort')
    },
  },
  {
    title: 'what is safe to repeat was done by a lost attempt, and the next one gives up',
    change: ({ s }) => {
      s.submit('gone')
      s.claim('x1', 'gone')
      const act = new Act(s, 'gone', 'retry')
      act.begin('x1')
      act.do()
      act.lose()
      s.claim('x1', 'gone')
      act.begin('x1')
      act.settle('x1', 'abort')
      s.report('x1', 'gone', 'failed')
    },
  },
  {
    title: 'a job fails while its effect is in doubt',
    change: ({ s }) => {
      s.submit('gone')
      s.claim('x1', 'gone')
      const act = new Act(s, 'gone')
      act.begin('x1')
      const { commit } = s.report('x1', 'gone', 'failed')
      commit.changes.push(act.update({ state: 'in_doubt' }))
    },
  },
  {
    title: 'an effect is begun within a section, though a cancel waits for its end',
    change: ({ s }) => {
      hold(s)
      enter(s, 'x1', 'gone')
      cancel(s, 'gone')
      const act = new Act(s, 'gone')
      act.begin('x1')
      act.do()
      act.settle('x1', 'commit')
      leave(s, 'x1', 'gone', 'enough')
      s.report('x1', 'gone', 'cancelled')
    },
  },
  {
    title: 'a job succeeds whose cancel was asked for',
    change: ({ s }) => {
      hold(s)
      cancel(s, 'gone')
      s.report('x1', 'gone', 'succeeded')
    },
  },
  {
    title: 'a heartbeat that was on its way tells of no cancel',
    change: ({ s }) => {
      hold(s)
      const asked = s.askToBeat('x1', [{ job_id: 'gone', fence: 1 }])
      cancel(s, 'gone')
      const held = [{ job_id: 'gone', fence: 1 }]
      s.answer(asked, 200, { term: 2, held, revoked: [] })
      s.report('x1', 'gone', 'cancelled')
    },
  },
  {
    title: 'an executor is told of a cancel in its section, past the ceiling',
    change: ({ s }) => {
      hold(s)
      rowOf(enter(s, 'x1', 'gone').commit, 'jobs').critical_ceiling_ms = '400'
      cancel(s, 'gone')
      s.beat('x1', ['gone'])
      s.wait(500)
      beatAndTell(s, 'x1', 'gone')
      s.report('x1', 'gone', 'cancelled')
    },
  },
  {
    title: 'a ceiling starts over after a failover',
    change: ({ s }) => {
      hold(s)
      rowOf(enter(s, 'x1', 'gone').commit, 'jobs').critical_ceiling_ms = '400'
      cancel(s, 'gone')
      s.wait(500)
      s.write([{ table: 'terms', kind: 'update', row: { term: '2', deadline_floor_at: 'later' } }])
      s.beat('x1', ['gone'])
      s.report('x1', 'gone', 'cancelled')
    },
  },
  {
    title: 'a lease ends within the grace of a cancel that was told, and the job with it',
    change: ({ s }) => {
      hold(s)
      cancel(s, 'gone')
      s.wait(100)
      beatAndTell(s, 'x1', 'gone')
      s.wait(2 * leaseTtlMs)
      rowOf(s.takeBack('gone', 'lost'), 'jobs').state = 'cancelled'
    },
  },
  {
    title: 'a cancel that was told is not answered, and the job is taken from its executor',
    change: ({ s }) => {
      hold(s)
      cancel(s, 'gone')
      s.wait(100)
      beatAndTell(s, 'x1', 'gone')
      const commit = s.takeBack('gone', 'undelivered')
      rowOf(commit, 'attempts').outcome = 'cancelled'
      Object.assign(rowOf(commit, 'jobs'), { state: 'cancelled', attempt: '1' })
    },
  },
  {
    title: 'a cancel waits for whoever owns the next move of the job',
    change: ({ s }) => {
      s.submit('gone')
      change(s, 'gone', { state: 'waiting', waiting_for: 'transition' })
      cancel(s, 'gone')
      s.wait(1_000)
      change(s, 'gone', { priority: '3' })
      change(s, 'gone', { state: 'cancelled', waiting_for: null })
    },
  },
]

function hold(s: Story) {
  s.submit('gone')
  s.claim('x1', 'gone')
  s.wait(100)
}
