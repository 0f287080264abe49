import type { BadStory } from './bad-story.ts'
import type { HistoryEvent } from './events.ts'
import { rowOf } from './stories.ts'

const poll = (executorId: string) => `/v1/executors/${executorId}/poll`

/** Invariant 2. */
export const ownerStories: BadStory[] = [
  {
    title: 'a fence falls',
    invariant: 2,
    rule: 'fencesNeverFall',
    change: ({ undelivered4 }) => {
      rowOf(undelivered4, 'jobs').fence = '0'
    },
  },
  {
    title: 'a new owner gets the fence of the one before',
    invariant: 2,
    rule: 'ownersHaveNewFences',
    change: ({ s }) => {
      for (const fence of [2, 3]) refence(s.events, 'job-3', fence, 1)
    },
  },
  {
    title: 'one lease ends twice',
    invariant: 2,
    rule: 'leasesEndOnce',
    change: ({ success2 }) => {
      const row = { ...rowOf(success2.commit, 'attempts') }
      success2.commit.changes.push({ table: 'attempts', kind: 'insert', row })
    },
  },
  {
    title: 'a lease is lost in the name of an executor that did not have it',
    invariant: 2,
    rule: 'attemptsAreOfTheLease',
    change: ({ lost3 }) => {
      rowOf(lost3, 'attempts').executor_id = 'x1'
    },
  },
  {
    title: 'an attempt is recorded of another fence than that of the lease',
    invariant: 2,
    rule: 'attemptsAreOfTheLease',
    change: ({ undelivered4 }) => {
      rowOf(undelivered4, 'attempts').fence = '9'
    },
  },
  {
    title: 'an attempt is recorded where no lease ended',
    invariant: 2,
    rule: 'attemptsAreOfTheLease',
    change: ({ s }) => {
      const row = { job_id: 'job-5', fence: '0', attempt: '0', outcome: 'released' }
      const change = { table: 'attempts', kind: 'insert', row } as const
      s.write([{ ...change, row: { ...row, executor_id: 'x1', epoch: '1' } }])
    },
  },
  {
    title: 'a lease ends without a trace',
    invariant: 2,
    rule: 'endsAreRecorded',
    change: ({ undelivered4 }) => void undelivered4.changes.pop(),
  },
  {
    title: 'a report is accepted as succeeded and recorded as failed',
    invariant: 2,
    rule: 'acceptedReportsAreTheAttempt',
    change: ({ success2 }) => {
      rowOf(success2.commit, 'attempts').outcome = 'failed'
    },
  },
  {
    title: 'a report is accepted twice',
    invariant: 2,
    rule: 'oneVerdict',
    change: ({ duplicate }) => Object.assign(duplicate.body as object, accepted('job-1')),
  },
  {
    title: 'the late success of a lost owner is accepted like that of the next',
    invariant: 2,
    rule: 'oneSuccess',
    change: ({ rejected }) => Object.assign(rejected.body as object, accepted('job-3')),
  },
  {
    title: 'an assignment goes to another epoch than its lease',
    invariant: 2,
    rule: 'assignmentsAreTheOwners',
    change: ({ claim2 }) => Object.assign(claim2.asked.body as object, { epoch: 7 }),
  },
  {
    title: 'two executors are given the same job and fence',
    invariant: 2,
    rule: 'oneIsGivenIt',
    change: ({ s }) => {
      const assignments = [{ job_id: 'job-2', fence: 1 }]
      s.answer(s.ask(poll('x2'), { epoch: 2 }), 200, { assignments })
    },
  },
  {
    title: 'an executor is told that it holds what it reported on long ago',
    invariant: 2,
    rule: 'heldWasHeld',
    change: ({ beat2 }) => {
      const body = beat2.answered.body as { held: unknown[] }
      body.held.push({ job_id: 'job-1', fence: 1 })
    },
  },
  {
    title: 'an executor is told that it holds what it is given seconds later',
    invariant: 2,
    rule: 'heldWasHeld',
    change: ({ beat2 }) => {
      const body = beat2.answered.body as { held: unknown[] }
      body.held.push({ job_id: 'job-3', fence: 3 })
    },
  },
  {
    title: 'an executor is told that it holds what another does',
    invariant: 2,
    rule: 'heldWasHeld',
    change: ({ beat1 }) => {
      const body = beat1.answered.body as { held: unknown[] }
      body.held.push({ job_id: 'job-3', fence: 1 })
    },
  },
]

function accepted(id: string) {
  return { results: [{ job_id: id, status: 'accepted' }] }
}

/** Calls a fence of a job by another number, wherever it is told. */
function refence(events: HistoryEvent[], jobId: string, from: number, to: number) {
  const walk = (value: unknown) => {
    if (typeof value !== 'object' || value === null) return
    const item = value as Record<string, unknown>
    if ((item.job_id === jobId || item.id === jobId) && Number(item.fence) === from) {
      item.fence = typeof item.fence === 'string' ? String(to) : to
    }
    for (const inner of Object.values(item)) walk(inner)
  }
  for (const event of events) walk(event)
}
