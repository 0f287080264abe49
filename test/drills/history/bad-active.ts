import type { BadStory } from './bad-story.ts'
import type { GoodStory } from './good-story.ts'

/** Invariant 12. */
export const activeStories: BadStory[] = [
  {
    title: 'a replica whose term is over answers a heartbeat',
    invariant: 12,
    rule: 'onlyTheActiveServes',
    change: ({ beat2 }) => {
      beat2.asked.url = 'http://a/'
    },
  },
  {
    title: 'a standby answers an executor while the other leads',
    invariant: 12,
    rule: 'onlyTheActiveServes',
    change: ({ registration }) => {
      registration.asked.url = 'http://b'
    },
  },
  {
    title: 'a replica answers before its recovery is done',
    invariant: 12,
    rule: 'onlyTheActiveServes',
    change: ({ second }) => {
      second.recovery.committedAt += 200
    },
  },
  {
    title: 'somebody behind the balancer answers while nobody has recovered',
    invariant: 12,
    rule: 'onlyTheActiveServes',
    change: ({ s, first }) => {
      first.recovery.committedAt += 60
      for (const event of s.events) {
        if (event.type === 'invoke') event.url = 'http://balancer'
      }
    },
  },
  {
    title: 'a process that began anew at the URL of the active answers in its stead',
    invariant: 12,
    rule: 'onlyTheActiveServes',
    change: ({ s }) => {
      s.replica('b2', { url: 'http://b' })
      s.wait(1_000)
      s.register('x3')
    },
  },
  {
    title: 'an answer names a term that is over, before anybody was told of the next',
    invariant: 12,
    rule: 'answersNameTheTermThatServed',
    change: ({ beat2 }) => Object.assign(beat2.answered.body as object, { term: 1 }),
  },
  {
    title: 'an answer names a term that never was',
    invariant: 12,
    rule: 'answersNameTheTermThatServed',
    change: ({ toldAgain }) => Object.assign(toldAgain.answered.body as object, { term: 7 }),
  },
  balanced('a standby behind the balancer answers while the other leads', 'one'),
  balanced('a server behind the balancer answers that no replica runs at', 'three'),
  balanced('a process that began anew behind the balancer answers in its stead', 'two', (s) => {
    s.replica('b2', { url: 'http://b', server: 'two' })
    s.wait(1_000)
  }),
]

function balanced(title: string, servedBy: string, before?: (s: GoodStory['s']) => void): BadStory {
  return {
    title,
    invariant: 12,
    rule: 'onlyTheActiveServes',
    change: ({ s }) => {
      before?.(s)
      s.url = 'http://balancer'
      s.servedBy = servedBy
      s.register('x3')
    },
  }
}
