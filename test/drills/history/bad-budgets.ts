import type { BadStory } from './bad-story.ts'
import { leaseTtlMs, rowOf } from './stories.ts'

/** Invariant 11. */
export const budgetStories: BadStory[] = [
  {
    title: 'a lost lease spends an attempt',
    invariant: 11,
    rule: 'lossesGiveTheirAttemptBack',
    change: ({ lost3 }) => {
      rowOf(lost3, 'jobs').attempt = '1'
    },
  },
  {
    title: 'a lost offer spends an attempt',
    invariant: 11,
    rule: 'lossesGiveTheirAttemptBack',
    change: ({ undelivered4 }) => {
      rowOf(undelivered4, 'jobs').attempt = '1'
    },
  },
  {
    title: 'a released job spends an attempt',
    invariant: 11,
    rule: 'lossesGiveTheirAttemptBack',
    change: ({ released4 }) => {
      rowOf(released4.commit, 'jobs').attempt = '1'
    },
  },
  {
    title: 'a stage begins with an attempt of the one before',
    invariant: 11,
    rule: 'lossesGiveTheirAttemptBack',
    change: ({ built }) => {
      rowOf(built.commit, 'jobs').attempt = '1'
    },
  },
  {
    title: 'a lost lease is not counted',
    invariant: 11,
    rule: 'lossesAreCounted',
    change: ({ lost3 }) => {
      rowOf(lost3, 'jobs').lost_leases = '0'
    },
  },
  {
    title: 'a lost offer is counted as a lost lease',
    invariant: 11,
    rule: 'lossesAreCounted',
    change: ({ undelivered4 }) => {
      rowOf(undelivered4, 'jobs').lost_leases = '1'
    },
  },
  {
    title: 'a job fails by a lost lease within the budget',
    invariant: 11,
    rule: 'failuresHaveAReason',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      s.wait(2 * leaseTtlMs)
      rowOf(s.takeBack('job-5', 'lost'), 'jobs').state = 'failed'
    },
  },
  {
    title: 'a job fails that reported that it was released',
    invariant: 11,
    rule: 'failuresHaveAReason',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      rowOf(s.report('x1', 'job-5', 'released').commit, 'jobs').state = 'failed'
    },
  },
  {
    title: 'an attempt is left out',
    invariant: 11,
    rule: 'attemptsRiseByOne',
    change: ({ claim2 }) => {
      rowOf(claim2.commit, 'jobs').attempt = '2'
    },
  },
  {
    title: 'a renewal spends an attempt',
    invariant: 11,
    rule: 'attemptsRiseByOne',
    change: ({ beat2 }) => {
      rowOf(beat2.commit, 'jobs').attempt = '2'
    },
  },
  {
    title: 'a job runs beyond its attempts',
    invariant: 11,
    rule: 'attemptsRiseByOne',
    change: ({ claim2 }) => {
      rowOf(claim2.commit, 'jobs').max_attempts = '0'
    },
  },
]
