import { type LawfulStory, remove } from './bad-story.ts'
import { leaseTtlMs } from './stories.ts'

/** Verdicts on reports that only look wrong. Clocks differ: what is a moment apart may be the other way round. */
export const lawfulVerdicts: LawfulStory[] = [
  {
    title: 'two reports differ, and the one that was sent first is judged last',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      s.wait(100)
      const second = s.askToReport('x1', 'job-5', 1, 'failed')
      s.report('x1', 'job-5', 'succeeded')
      s.wait(100)
      s.answer(second, 200, rejected('job-5', 'already_final'))
    },
  },
  {
    title: 'a report is sent again while the first is judged, and is a duplicate',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      s.wait(100)
      const again = s.askToReport('x1', 'job-5', 1, 'succeeded')
      remove(s.events, s.report('x1', 'job-5', 'succeeded').answered)
      s.answer(again, 200, { results: [{ job_id: 'job-5', status: 'duplicate' }] })
    },
  },
  {
    title: 'a report is rejected whose lease ended while it was under way',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      s.wait(2 * leaseTtlMs)
      const late = s.askToReport('x1', 'job-5', 1, 'succeeded')
      s.takeBack('job-5', 'lost')
      s.answer(late, 200, rejected('job-5', 'stale_fence'))
    },
  },
  {
    title: 'a report names a lease that begins only while it is under way',
    change: ({ s }) => {
      const early = s.askToReport('x1', 'job-5', 1, 'succeeded')
      s.claim('x1', 'job-5')
      s.wait(100)
      s.answer(early, 200, rejected('job-5', 'stale_fence'))
    },
  },
  {
    title:
      'an executor that has registered anew is rejected, though nobody has taken its lease back',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      s.wait(100)
      const late = s.askToReport('x1', 'job-5', 1, 'succeeded')
      const { commit } = s.register('x1')
      const ends = commit.changes.splice(0, 2)
      s.answer(late, 200, rejected('job-5', 'stale_epoch'))
      s.wait(100)
      s.write(ends)
    },
  },
  {
    title: 'a job that succeeded is reported again by an older self of its executor',
    change: ({ s }) => {
      s.register('x1')
      s.wait(100)
      const late = s.ask('/v1/executors/x1/report', {
        epoch: 1,
        reports: [{ job_id: 'job-2', fence: 1, outcome: 'succeeded' }],
      })
      s.answer(late, 200, rejected('job-2', 'stale_epoch'))
    },
  },
  {
    title: 'somebody else is rejected while the owner works',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      s.wait(100)
      s.answer(s.askToReport('x2', 'job-5', 1, 'succeeded'), 200, rejected('job-5', 'stale_fence'))
      s.wait(100)
    },
  },
  {
    title: 'a report names a lease that begins and ends so while it is under way',
    change: ({ s }) => {
      const early = s.askToReport('x1', 'job-5', 1, 'succeeded')
      s.claim('x1', 'job-5')
      s.report('x1', 'job-5', 'succeeded')
      s.wait(100)
      s.answer(early, 200, rejected('job-5', 'stale_fence'))
    },
  },
  {
    title: 'somebody else, and an epoch that never was, report what the owner had reported',
    change: ({ s }) => {
      s.wait(100)
      const reports = [{ job_id: 'job-2', fence: 1, outcome: 'succeeded' }]
      for (const [executorId, epoch] of [
        ['x2', 1],
        ['x3', 1],
        ['x1', 9],
      ]) {
        const asked = s.ask(`/v1/executors/${executorId}/report`, { epoch, reports })
        s.answer(asked, 200, rejected('job-2', 'stale_epoch'))
      }
    },
  },
  {
    title: 'a lease began a moment before a report that is rejected',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      s.answer(s.askToReport('x1', 'job-5', 1, 'succeeded'), 200, rejected('job-5', 'stale_fence'))
      s.wait(100)
    },
  },
  {
    title: 'a lease ends a moment after its report was rejected',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      s.wait(2 * leaseTtlMs)
      s.answer(s.askToReport('x1', 'job-5', 1, 'succeeded'), 200, rejected('job-5', 'stale_fence'))
      s.takeBack('job-5', 'lost')
    },
  },
  {
    title: 'a report counts a moment before another is rejected',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      s.report('x1', 'job-5', 'succeeded')
      const again = s.askToReport('x1', 'job-5', 1, 'succeeded')
      s.answer(again, 200, rejected('job-5', 'already_final'))
    },
  },
]

function rejected(id: string, reason: string) {
  return { results: [{ job_id: id, status: 'rejected', reason }] }
}
