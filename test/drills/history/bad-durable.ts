import { type BadStory, remove } from './bad-story.ts'
import type { GoodStory } from './good-story.ts'
import { rowOf } from './stories.ts'

/** Invariant 4. */
export const durableStories: BadStory[] = [
  {
    title: 'a job is acknowledged and never committed',
    invariant: 4,
    rule: 'submitsAreCommitted',
    change: ({ s }) => remove(s.events, s.submit('job-9').commit),
  },
  {
    title: 'a job is acknowledged half a second before its commit',
    invariant: 4,
    rule: 'submitsAreCommitted',
    change: ({ other }) => {
      other.commit.committedAt += 500
    },
  },
  {
    title: 'a batch of two is answered with one job',
    invariant: 4,
    rule: 'submitsAreCommitted',
    change: ({ batch }) => void (batch.answered.body as { results: unknown[] }).results.pop(),
  },
  {
    title: 'an epoch is given out and never committed',
    invariant: 4,
    rule: 'registrationsAreCommitted',
    change: ({ replaced }) => Object.assign(replaced.answered.body as object, { epoch: 3 }),
  },
  {
    title: 'an assignment is answered that was never committed',
    invariant: 4,
    rule: 'assignmentsAreCommitted',
    change: ({ s }) => {
      const assignments = [{ job_id: 'job-5', fence: 1 }]
      s.answer(s.ask('/v1/executors/x1/poll', { epoch: 1 }), 200, { assignments })
    },
  },
  {
    title: 'an assignment is answered before its commit',
    invariant: 4,
    rule: 'assignmentsAreCommitted',
    change: ({ claim6 }) => {
      claim6.commit.committedAt += 100
    },
  },
  {
    title: 'a report is accepted and never committed',
    invariant: 4,
    rule: 'reportsAreCommitted',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      remove(s.events, s.report('x1', 'job-5', 'succeeded').commit)
    },
  },
  {
    title: 'a report is called a duplicate of one that was never committed',
    invariant: 4,
    rule: 'reportsAreCommitted',
    change: ({ s }) => {
      const results = [{ job_id: 'job-5', status: 'duplicate' }]
      s.answer(s.askToReport('x1', 'job-5', 1, 'failed'), 200, { results })
    },
  },
  {
    title: 'a job is committed into another queue than was asked for',
    invariant: 4,
    rule: 'answersAreOfTheJobAskedFor',
    change: ({ other }) => {
      rowOf(other.commit, 'jobs').queue = 'elsewhere'
    },
  },
  {
    title: 'a second try of a key is answered with another job',
    invariant: 4,
    rule: 'answersAreOfTheJobAskedFor',
    change: ({ replay }) => Object.assign(replay.body as object, { job: { id: 'job-2' } }),
  },
  {
    title: 'two submits are told that the same job is new',
    invariant: 4,
    rule: 'aJobIsNewOnce',
    change: ({ replay }) => {
      replay.status = 201
    },
  },
  {
    title: 'two jobs have one key',
    invariant: 4,
    rule: 'oneJobForEachKey',
    change: ({ s }) => remove(s.events, s.submit('job-9', { key: 'once' }).answered),
  },
  {
    title: 'a job is there that nobody asked for',
    invariant: 4,
    rule: 'jobsWereAskedFor',
    change: ({ s }) => {
      const { asked, answered } = s.submit('job-9', { kind: 'never' })
      remove(s.events, asked, answered)
    },
  },
  {
    title: 'a submit whose fate is unknown makes two jobs',
    invariant: 4,
    rule: 'jobsWereAskedFor',
    change: ({ s }) => {
      const { asked, answered } = s.submit('job-9', { kind: 'unseen' })
      remove(s.events, asked, answered)
    },
  },
  {
    title: 'a job is retried that nobody wanted retried',
    invariant: 4,
    rule: 'jobsWereAskedFor',
    change: ({ s, retry }) => remove(s.events, retry),
  },
  {
    title: 'a job is retried, and keeps the key that its successor has',
    invariant: 4,
    rule: 'oneJobForEachKey',
    change: ({ inserted }) => {
      inserted.commit.changes.shift()
    },
  },
  ...[400, 409, 503].map((status) =>
    refusal(`answered ${status}`, (s, { asked, answered }) => {
      remove(s.events, answered)
      s.answer(asked, status, { code: 'overloaded' })
    }),
  ),
  refusal('never sent', (s, { asked, answered }) => {
    remove(s.events, answered)
    s.lose(asked, false)
  }),
]

type Submitted = ReturnType<GoodStory['s']['submit']>

function refusal(how: string, refuse: (s: GoodStory['s'], told: Submitted) => void): BadStory {
  return {
    title: `a submit that was ${how} leaves a job`,
    invariant: 4,
    rule: 'jobsWereAskedFor',
    change: ({ s }) => refuse(s, s.submit('job-9', { kind: 'refused' })),
  }
}
