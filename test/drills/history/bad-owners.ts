import type { BadStory } from './bad-story.ts'
import type { HistoryEvent, InvokeEvent } from './events.ts'
import { leaseTtlMs, rowOf, type Story } from './stories.ts'

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
      s.askToReport('x1', 'job-5', 0, 'released')
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
    rule: 'countedReportsAreTheAttempt',
    change: ({ s, success2 }) => {
      const earlier = s.askToReport('x1', 'job-2', 1, 'failed')
      earlier.at = success2.asked.at - 2
      rowOf(success2.commit, 'attempts').outcome = 'failed'
    },
  },
  duplicate('another outcome', (s) => s.askToReport('x1', 'job-1', 1, 'failed')),
  duplicate('another executor', (s) => {
    const asked = s.askToReport('x1', 'job-1', 1, 'succeeded')
    return Object.assign(asked, { path: '/v1/executors/x2/report' })
  }),
  duplicate('another epoch', (s) => {
    const asked = s.askToReport('x1', 'job-1', 1, 'succeeded')
    return Object.assign(asked, { body: { ...(asked.body as object), epoch: 9 } })
  }),
  {
    title: 'a late report is called a duplicate of the loss of its lease',
    invariant: 2,
    rule: 'countedReportsAreTheAttempt',
    change: ({ rejected }) => Object.assign(rejected.body as object, told('job-3', 'duplicate')),
  },
  ...['stale_fence', 'stale_epoch', 'not_found', 'already_final'].map(
    (reason): BadStory => ({
      title: `an owner is rejected: ${reason}`,
      invariant: 2,
      rule: 'ownersAreHeard',
      change: ({ s }) => rejectOwner(s, told('job-5', 'rejected', reason)),
    }),
  ),
  {
    title: 'an owner is rejected, and loses its lease later',
    invariant: 2,
    rule: 'ownersAreHeard',
    change: ({ s }) => {
      rejectOwner(s, told('job-5', 'rejected', 'stale_fence'))
      s.wait(2 * leaseTtlMs)
      s.takeBack('job-5', 'lost')
    },
  },
  {
    title: 'an owner is rejected, and registers anew later',
    invariant: 2,
    rule: 'ownersAreHeard',
    change: ({ s }) => {
      rejectOwner(s, told('job-5', 'rejected', 'stale_epoch'))
      s.wait(100)
      s.register('x1')
    },
  },
  {
    title: 'an owner is told nothing of its report',
    invariant: 2,
    rule: 'ownersAreHeard',
    change: ({ s }) => rejectOwner(s, { results: [] }),
  },
  {
    title: 'what had counted is rejected when it is reported again',
    invariant: 2,
    rule: 'ownersAreHeard',
    change: ({ s }) => {
      s.wait(100)
      const again = s.askToReport('x1', 'job-2', 1, 'succeeded')
      s.answer(again, 200, told('job-2', 'rejected', 'already_final'))
    },
  },
  {
    title: 'a report is accepted twice',
    invariant: 2,
    rule: 'oneVerdict',
    change: ({ duplicate }) => Object.assign(duplicate.body as object, told('job-1', 'accepted')),
  },
  {
    title: 'the late success of a lost owner is accepted like that of the next',
    invariant: 2,
    rule: 'oneSuccess',
    change: ({ rejected }) => Object.assign(rejected.body as object, told('job-3', 'accepted')),
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

function told(id: string, status: string, reason?: string) {
  return { results: [{ job_id: id, status, reason }] }
}

/** A second report on job-1, which succeeded by x1. */
function duplicate(of: string, ask: (s: Story) => InvokeEvent): BadStory {
  return {
    title: `a report is called a duplicate that is of ${of}`,
    invariant: 2,
    rule: 'countedReportsAreTheAttempt',
    change: ({ s }) => void s.answer(ask(s), 200, told('job-1', 'duplicate')),
  }
}

/** x1 holds job-5, reports on it, and is answered so. */
function rejectOwner(s: Story, body: object) {
  s.claim('x1', 'job-5')
  s.wait(100)
  s.answer(s.askToReport('x1', 'job-5', 1, 'succeeded'), 200, body)
  s.wait(100)
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
