import { type BadStory, remove } from './bad-story.ts'
import type { GoodStory } from './good-story.ts'
import { Act, cancel, change, enter, leave } from './ledger-steps.ts'
import { rowOf } from './stories.ts'

/** Invariant 6. */
export const cancelStories: BadStory[] = [
  ...bad('cancelsStay', {
    'a cancel is forgotten': ({ s }) => {
      change(s, 'stopped', { cancel_requested_at: null })
    },
    'a cancel is dated anew': ({ told }) => {
      rowOf(told.commit, 'jobs').cancel_requested_at = '2024-01-01 00:00:00+00'
    },
  }),
  ...bad('cancelledGoNowhereElse', {
    'a job that is to be cancelled is given out again': ({ s }) => {
      holdCancelled(s)
      s.report('x1', 'gone', 'released')
      s.claim('x1', 'gone')
      s.report('x1', 'gone', 'cancelled')
    },
    'a job that is to be cancelled fails for good': ({ s }) => {
      holdCancelled(s)
      s.report('x1', 'gone', 'failed')
    },
    'a job that is to be cancelled waits for a decision': ({ s }) => {
      holdCancelled(s)
      Object.assign(rowOf(s.report('x1', 'gone', 'released').commit, 'jobs'), {
        ...{ state: 'waiting', waiting_for: 'decision' },
      })
      change(s, 'gone', { state: 'cancelled' })
    },
  }),
  ...bad('sectionsHoldCancelsOff', {
    'an executor is told of a cancel in its section': ({ deferred, s }) => {
      rowOf(deferred.commit, 'jobs').cancel_told_at = s.instant()
    },
  }),
  ...bad('nothingBeginsUnderACancel', {
    'an effect is begun after a cancel': ({ s }) => {
      holdCancelled(s)
      const act = new Act(s, 'gone')
      act.begin('x1')
      act.settle('x1', 'abort')
      s.report('x1', 'gone', 'cancelled')
    },
    'a section begins after a cancel': ({ s }) => {
      holdCancelled(s)
      enter(s, 'x1', 'gone')
      leave(s, 'x1', 'gone', 'enough')
      s.report('x1', 'gone', 'cancelled')
    },
  }),
  ...bad('cancelsAreCommitted', {
    'a cancel is acknowledged, and nothing is written': ({ s, asked }) => {
      remove(s.events, asked.commit)
    },
    'a cancel is acknowledged a second before it is written': ({ asked }) => {
      asked.answered.at -= 1_000
      asked.asked.at -= 1_000
    },
  }),
  ...bad('holdersAreTold', {
    'an executor is told of a cancel once, and then no more': ({ toldAgain }) => {
      delete (toldAgain.answered.body as Record<string, unknown>).cancel
    },
    'an executor is told of the cancel of another job': ({ told }) => {
      const cancelled = { job_id: 'plain', fence: 1, reason: '' }
      Object.assign(told.answered.body as object, { cancel: [cancelled] })
    },
    'a section holds a cancel off past its ceiling': ({ inSection }) => {
      rowOf(inSection.commit, 'jobs').critical_ceiling_ms = '1'
    },
  }),
  ...bad('endsOfSectionsTell', {
    'a section ends, and its executor does not hear of the cancel that waited': ({ applied }) => {
      Object.assign(applied.answered.body as object, { cancel: null })
    },
  }),
]

function bad(rule: string, stories: Record<string, (good: GoodStory) => void>): BadStory[] {
  return Object.entries(stories).map(([title, change]) => ({ title, invariant: 6, rule, change }))
}

/** x1 has a job whose cancel was asked for. */
function holdCancelled(s: GoodStory['s']) {
  s.submit('gone')
  s.claim('x1', 'gone')
  s.wait(100)
  cancel(s, 'gone')
  s.wait(100)
}
