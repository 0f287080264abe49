import { type BadStory, remove } from './bad-story.ts'
import type { GoodStory } from './good-story.ts'
import { cancel as requestCancel } from './ledger-steps.ts'
import { leaseTtlMs, rowOf, type Told } from './stories.ts'

/** Invariant 3. */
export const outcomeStories: BadStory[] = [
  {
    title: 'a job that succeeded lives again',
    invariant: 3,
    rule: 'finalJobsStay',
    change: ({ s, success1 }) => rewrite(s, success1, { state: 'available' }),
  },
  {
    title: 'a job that succeeded is cancelled',
    invariant: 3,
    rule: 'finalJobsStay',
    change: ({ s, success1 }) => rewrite(s, success1, { state: 'cancelled' }),
  },
  {
    title: 'the fence of a final job is raised',
    invariant: 3,
    rule: 'finalJobsStay',
    change: ({ s, success1 }) => rewrite(s, success1, { fence: '2' }),
  },
  {
    title: 'a final job is deleted',
    invariant: 3,
    rule: 'finalJobsStay',
    change: ({ s }) => void s.write([{ table: 'jobs', kind: 'delete', row: { id: 'job-1' } }]),
  },
  {
    title: 'the table of jobs is truncated',
    invariant: 3,
    rule: 'finalJobsStay',
    change: ({ s }) => void s.write([{ table: 'jobs', kind: 'delete', row: {} }]),
  },
  {
    title: 'an acknowledged job is not final after the drain',
    invariant: 3,
    rule: 'acknowledgedJobsEnd',
    change: ({ s }) => void s.submit('job-9'),
  },
  {
    title: 'a job succeeds that nobody reported on',
    invariant: 3,
    rule: 'successesWereReported',
    change: ({ s, success2 }) => remove(s.events, success2.asked, success2.answered),
  },
  {
    title: 'a job succeeds by a report that never left',
    invariant: 3,
    rule: 'successesWereReported',
    change: ({ s, success2 }) => {
      remove(s.events, success2.answered)
      s.lose(success2.asked, false)
    },
  },
  {
    title: 'a job succeeds a second before its report is sent',
    invariant: 3,
    rule: 'successesWereReported',
    change: ({ success2 }) => {
      success2.asked.at += 1_000
      success2.answered.at += 1_000
    },
  },
  ...['succeeded', 'failed', 'cancelled', 'released'].map(
    (outcome): BadStory => ({
      title: `an owner's lease ends as ${outcome}, which another asked for`,
      invariant: 3,
      rule: 'outcomesWereReported',
      change: ({ s }) => {
        const { asked } = reportUnheard(s, outcome)
        asked.path = '/v1/executors/x2/report'
      },
    }),
  ),
  {
    title: 'a lease ends as failed, and its owner had reported that it was released',
    invariant: 3,
    rule: 'outcomesWereReported',
    change: ({ s }) => {
      const { asked } = reportUnheard(s, 'failed')
      const [report] = (asked.body as { reports: object[] }).reports
      Object.assign(report ?? {}, { outcome: 'released' })
    },
  },
  {
    title: 'a lease ends as its owner reported under an older fence',
    invariant: 3,
    rule: 'outcomesWereReported',
    change: ({ s }) => {
      const { asked } = reportUnheard(s, 'released')
      const [report] = (asked.body as { reports: object[] }).reports
      Object.assign(report ?? {}, { fence: 0 })
    },
  },
  {
    title: 'a job fails by a report that was refused',
    invariant: 3,
    rule: 'outcomesWereReported',
    change: ({ s }) => {
      const { asked } = reportUnheard(s, 'failed')
      s.answer(asked, 503, { code: 'controller_standby' })
    },
  },
  {
    title: 'a job is released a second before that is reported',
    invariant: 3,
    rule: 'outcomesWereReported',
    change: ({ released4 }) => {
      released4.asked.at += 1_000
      released4.answered.at += 1_000
    },
  },
  {
    title: 'a job is taken away for an effect in doubt, and none is',
    invariant: 3,
    rule: 'outcomesWereReported',
    change: ({ s, heldBack }) => {
      const { commit, answered } = heldBack
      commit.changes = commit.changes.filter(({ table }) => table !== 'effects')
      remove(s.events, answered)
    },
  },
  {
    title: 'a job is cancelled for the silence of an executor that was not told',
    invariant: 3,
    rule: 'outcomesWereReported',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      requestCancel(s, 'job-5')
      const commit = s.takeBack('job-5', 'undelivered')
      rowOf(commit, 'attempts').outcome = 'cancelled'
      Object.assign(rowOf(commit, 'jobs'), { state: 'cancelled', attempt: '1' })
    },
  },
  {
    title: 'a job is cancelled that nobody wanted gone',
    invariant: 3,
    rule: 'cancelsWereAskedFor',
    change: ({ s }) => {
      s.ask('/v1/jobs/job-6/cancel', {})
      s.ask('/v1/jobs/bulk', { action: 'retry', dry_run: false })
      s.ask('/v1/jobs/bulk', { action: 'cancel', dry_run: true })
      cancel(s)
    },
  },
  {
    title: 'a job is cancelled by a request that was refused',
    invariant: 3,
    rule: 'cancelsWereAskedFor',
    change: ({ s }) => {
      s.answer(s.ask('/v1/jobs/job-5/cancel', {}), 404, { code: 'not_found' })
      cancel(s)
    },
  },
  {
    title: 'a job is cancelled before somebody wants it gone',
    invariant: 3,
    rule: 'cancelsWereAskedFor',
    change: ({ s }) => {
      cancel(s)
      s.wait(1_000)
      s.ask('/v1/jobs/job-5/cancel', {})
    },
  },
  {
    title: 'a job is cancelled by the loss of its lease',
    invariant: 3,
    rule: 'cancelsWereAskedFor',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      s.wait(2 * leaseTtlMs)
      rowOf(s.takeBack('job-5', 'lost'), 'jobs').state = 'cancelled'
    },
  },
]

/** One more commit, which changes a job's row as it stood after `told`. */
function rewrite(s: GoodStory['s'], told: Told, changed: Record<string, string>) {
  s.write([{ table: 'jobs', kind: 'update', row: { ...rowOf(told.commit, 'jobs'), ...changed } }])
}

/** job-5 is given to x1 and ends so; nobody is told. */
function reportUnheard(s: GoodStory['s'], outcome: string) {
  s.claim('x1', 'job-5')
  const told = s.report('x1', 'job-5', outcome)
  remove(s.events, told.answered)
  return told
}

function cancel(s: GoodStory['s']) {
  s.write([{ table: 'jobs', kind: 'update', row: { id: 'job-5', state: 'cancelled' } }])
}
