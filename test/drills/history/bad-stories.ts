import { activeStories } from './bad-active.ts'
import { budgetStories } from './bad-budgets.ts'
import { cancelStories } from './bad-cancels.ts'
import { durableStories } from './bad-durable.ts'
import { actStories, ledgerStories } from './bad-ledger.ts'
import { outcomeStories } from './bad-outcomes.ts'
import { ownerStories } from './bad-owners.ts'
import { askUnheard, type BadStory, giveUnheard, holdUnheard } from './bad-story.ts'
import { writerStories } from './bad-writers.ts'
import { heartbeatMs, rowOf } from './stories.ts'

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
    title: 'an executor that heard late of its lease, and asks on, loses it',
    invariant: 7,
    rule: 'healthyKeepTheirWork',
    change: ({ s }) => {
      const { hear } = giveUnheard(s)
      s.wait(heartbeatMs)
      hear()
      askUnheard(s, 6)
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
  ...ledgerStories,
  ...actStories,
  ...cancelStories,
  ...earlyStories,
  ...budgetStories,
  ...activeStories,
]
