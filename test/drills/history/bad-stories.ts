import { activeStories } from './bad-active.ts'
import { budgetStories } from './bad-budgets.ts'
import { durableStories } from './bad-durable.ts'
import { outcomeStories } from './bad-outcomes.ts'
import { ownerStories } from './bad-owners.ts'
import { type BadStory, holdUnheard } from './bad-story.ts'
import type { HistoryEvent } from './events.ts'
import { rowOf } from './stories.ts'

const writerStories: BadStory[] = [
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
]

const earlyStories: BadStory[] = [
  {
    title:
      'an executor that never stopped asking loses its lease to the time without anybody who answers',
    invariant: 7,
    rule: 'healthyKeepTheirWork',
    change: ({ s }) => {
      holdUnheard(s, 8)
      s.takeBack('job-5', 'lost')
    },
  },
  {
    title: 'a lease is lost a second after the heartbeat that renewed it',
    invariant: 7,
    rule: 'renewalsLastATtl',
    change: ({ lost3, lastBeatOfX2 }) => {
      lost3.committedAt = lastBeatOfX2.commit.committedAt + 1_000
    },
  },
  {
    title: 'a lease is lost before it expires',
    invariant: 7,
    rule: 'leasesLastUntilTheyExpire',
    change: ({ lastBeatOfX2 }) => {
      rowOf(lastBeatOfX2.commit, 'jobs').lease_expires_at = '2024-01-01 00:01:00.5+00'
    },
  },
  {
    title: 'an executor is told that a lease is revoked, and it never ended',
    invariant: 7,
    rule: 'revokedHadEnded',
    change: ({ beat2 }) => {
      const body = beat2.answered.body as { held: unknown[] }
      Object.assign(body, { revoked: body.held, held: [] })
    },
  },
]

export const badStories: BadStory[] = [
  ...writerStories,
  ...ownerStories,
  ...outcomeStories,
  ...durableStories,
  ...earlyStories,
  ...budgetStories,
  ...activeStories,
]

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
