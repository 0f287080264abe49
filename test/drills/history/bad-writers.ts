import type { BadStory } from './bad-story.ts'
import type { Change, HistoryEvent } from './events.ts'
import { rowOf } from './stories.ts'

/** Invariant 1. */
export const writerStories: BadStory[] = [
  {
    title: 'a term is left out: what was term 2 is term 3 throughout',
    invariant: 1,
    rule: 'termsRiseByOne',
    change: ({ s }) => renameTerm(s.events, 2, 3),
  },
  {
    title: 'a frozen leader of term 1 commits under term 2',
    invariant: 1,
    rule: 'writersAreInForce',
    change: ({ success2 }) => {
      success2.commit.writer = { term: 1, replicaId: 'a-id' }
    },
  },
  {
    title: 'another replica writes under the term in force',
    invariant: 1,
    rule: 'writersAreInForce',
    change: ({ success2 }) => {
      success2.commit.writer = { term: 2, replicaId: 'a-id' }
    },
  },
  {
    title: 'the replica in force writes under a term before its own',
    invariant: 1,
    rule: 'writersAreInForce',
    change: ({ success2 }) => {
      success2.commit.writer = { term: 1, replicaId: 'b-id' }
    },
  },
  {
    title: 'a lease is given without a term, and without a new fence',
    invariant: 1,
    rule: 'leasesMoveByLeaders',
    change: ({ s, done }) => {
      const owned = { state: 'leased', attempt: '1', executor_id: 'x1', epoch: '1' }
      const row = { ...rowOf(done.commit, 'jobs'), ...owned }
      delete s.write([{ table: 'jobs', kind: 'update', row }]).writer
    },
  },
  {
    title: 'a lease is given without a term',
    invariant: 1,
    rule: 'leasesMoveByLeaders',
    change: ({ claim3again }) => void delete claim3again.commit.writer,
  },
  {
    title: 'a lease is ended without a term',
    invariant: 1,
    rule: 'leasesMoveByLeaders',
    change: ({ success3 }) => void delete success3.commit.writer,
  },
  {
    title: 'a fence is raised without a term',
    invariant: 1,
    rule: 'leasesMoveByLeaders',
    change: ({ s, done }) => {
      const row = { ...rowOf(done.commit, 'jobs'), fence: '1' }
      delete s.write([{ table: 'jobs', kind: 'update', row }]).writer
    },
  },
  {
    title: 'an executor is told of term 1 after another was told of term 2',
    invariant: 1,
    rule: 'answersNeverGoBack',
    change: ({ beat3 }) => Object.assign(beat3.answered.body as object, { term: 1 }),
  },
  {
    title: 'a lease is renewed without a term',
    invariant: 1,
    rule: 'leasesMoveByLeaders',
    change: ({ beat3 }) => {
      // The executor's own row: that is said by another rule.
      beat3.commit.changes.pop()
      delete beat3.commit.writer
    },
  },
  unfenced('an executor is registered', 'executors', {
    kind: 'insert',
    row: { executor_id: 'x9', epoch: '1' },
  }),
  unfenced('the epoch of an executor is raised', 'executors', {
    kind: 'update',
    row: { executor_id: 'x1', epoch: '2' },
  }),
  unfenced('all executors are gone', 'executors', { kind: 'delete', row: {} }),
  unfenced('an attempt is forgotten', 'attempts', {
    kind: 'delete',
    row: { job_id: 'job-1', fence: '1' },
  }),
  unfenced('a late report is kept', 'late_reports', {
    kind: 'insert',
    row: { job_id: 'job-3', executor_id: 'x2', epoch: '1', fence: '1', outcome: 'failed' },
  }),
  unfenced('progress of a job that retries none is kept', 'progress', {
    kind: 'insert',
    row: { job_id: 'job-2', fence: '1' },
  }),
  unfenced('progress is kept', 'progress', {
    kind: 'update',
    row: { job_id: 'job-2', fence: '1' },
  }),
]

function unfenced(done: string, table: string, change: Omit<Change, 'table'>): BadStory {
  return {
    title: `${done} without a term`,
    invariant: 1,
    rule: 'executorsAreWrittenByLeaders',
    change: ({ s }) => void delete s.write([{ table, ...change }]).writer,
  }
}

function renameTerm(events: HistoryEvent[], from: number, to: number) {
  for (const event of events) {
    if (event.type === 'answer') {
      const body = event.body as { term?: number } | undefined
      if (body?.term === from) body.term = to
    }
    if (event.type !== 'commit') continue
    if (event.writer?.term === from) event.writer.term = to
    for (const { row } of event.changes) if (row.term === String(from)) row.term = String(to)
  }
}
