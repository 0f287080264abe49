import { type BadStory, remove } from './bad-story.ts'
import type { ActedEvent } from './events.ts'
import type { GoodStory } from './good-story.ts'
import { Act } from './ledger-steps.ts'
import { rowOf } from './stories.ts'

/** Invariant 5. */
export const ledgerStories: BadStory[] = [
  ...bad('committedStays', {
    'an effect that was committed is in doubt again': ({ s, plain }) => {
      s.write([plain.update({ state: 'in_doubt' })])
    },
  }),
  ...bad('committedOnce', {
    'a job and the one that retries it commit the same effect': ({ s, inserted, broken }) => {
      rowOf(inserted.commit, 'effects').state = 'in_doubt'
      s.write([broken.update({ state: 'committed' })])
    },
    'a retry begins with what another job had committed than the one that it retries': ({
      retry,
      inserted,
    }) => {
      retry.path = '/v1/jobs/plain/retry'
      const made = inserted.commit.changes.find(({ row }) => row.id === 'mended')
      Object.assign(made?.row ?? {}, { retry_of: 'plain' })
    },
    'a retry begins with an effect as committed that was in doubt': ({ s }) => {
      s.submit('gone')
      s.claim('x1', 'gone')
      const effect = new Act(s, 'gone')
      effect.begin('x1')
      effect.do()
      s.report('x1', 'gone', 'failed').commit.changes.push(effect.update({ state: 'in_doubt' }))
      const { commit } = s.submit('again')
      rowOf(commit, 'jobs').retry_of = 'gone'
      effect.update({ state: 'committed' })
      effect.inherit(commit, 'again')
      s.claim('x1', 'again')
      s.report('x1', 'again', 'succeeded')
    },
  }),
  ...bad('theFirstBeginDecides', {
    'an effect gets another token': ({ committed }) => {
      rowOf(committed.commit, 'effects').effect_token = 'another'
    },
    'an effect that was to be held is safe to repeat all at once': ({ heldLost }) => {
      rowOf(heldLost, 'effects').on_doubt = 'retry'
    },
  }),
  ...bad('doubtIsNotRepeated', {
    'what an operator was to look at is begun anew': ({ s, resolved }) => {
      remove(s.events, resolved.asked, resolved.commit, resolved.answered)
    },
    'what was to be reconciled is begun anew': ({ foundAsked }) => {
      const changed = { state: 'begun', begin_id: 'begin 2 of found', fence: '3' }
      Object.assign(rowOf(foundAsked.commit, 'effects'), changed)
    },
    'what is safe to repeat is begun again under the same lease': ({ mailAgain }) => {
      rowOf(mailAgain.commit, 'effects').fence = '1'
    },
  }),
  ...bad('lostBeginsAreInDoubt', {
    'a lease ends, and what it had begun stays as it was': ({ foundLost }) => {
      foundLost.changes = foundLost.changes.filter(({ table }) => table !== 'effects')
    },
  }),
  ...bad('theirsToSettle', {
    'who lost the job commits, not who was told to find out': ({ foundCommitted }) => {
      rowOf(foundCommitted.commit, 'effects').settled_begin_id = 'begin 1 of found'
    },
    'who was told to wait for an operator aborts': ({ resolved }) => {
      rowOf(resolved.commit, 'effects').settled_begin_id = 'begin 2 of held'
    },
    'an operator resolves, and nobody asked one': ({ s, resolved }) => {
      remove(s.events, resolved.asked, resolved.answered)
    },
    'an operator said the opposite': ({ resolved }) => {
      Object.assign(resolved.asked.body as object, { outcome: 'committed' })
    },
    'an operator was refused': ({ resolved }) => {
      resolved.answered.status = 409
    },
  }),
]

/** Invariant 5, as it shows outside. */
export const actStories: BadStory[] = [
  ...bad('actsWereToldToProceed', {
    'an executor acts without the ledger': ({ s, acted, begun, committed, plain }) => {
      remove(s.events, begun.asked, begun.answered, committed.asked, committed.answered)
      s.write([plain.update({ state: 'committed' })])
      acted.token = 'none'
    },
    'an executor acts before it is answered': ({ acted }) => {
      acted.at -= 2
    },
    'an executor acts that is told to find out': ({ s, foundAct, foundAsked }) => {
      act(s, { ...foundAct, fence: 3, at: foundAsked.answered.at + 1 })
    },
    'an executor acts under a lease that it has lost': ({ acted }) => {
      acted.fence = 0
    },
  }),
  ...bad('actsHappenOnce', {
    'an executor acts twice': ({ s, acted }) => act(s, { ...acted, at: acted.at + 1 }),
    'the job that retries another acts once more': ({ s, inherited }) => {
      const { at } = inherited.answered
      const place = { at, actor: s.actor, jobId: 'mended', fence: 1, key: 'deploy' }
      act(s, { type: 'acted', ...place, token: 'token of broken' })
    },
    'what is safe to repeat is done twice under one lease': ({ s, mailAgain }) => {
      const place = { at: mailAgain.answered.at + 2, actor: s.actor, jobId: 'mail', fence: 3 }
      act(s, { type: 'acted', ...place, key: 'deploy', token: 'token of mail' })
    },
  }),
  ...bad('theLedgerIsTrue', {
    'what was never done is committed': ({ s, acted }) => remove(s.events, acted),
    'what was done is resolved as not done': ({ s, resolved }) => {
      const place = { at: resolved.asked.at - 100, actor: s.actor, jobId: 'held', fence: 1 }
      act(s, { type: 'acted', ...place, key: 'deploy', token: 'token of held' })
    },
  }),
  ...bad('abortedStaysUndone', {
    'what was given up is done long after, and nobody begins it anew': ({ s, givenUp }) => {
      const place = { at: givenUp.answered.at + 100, actor: s.actor, jobId: 'mail', fence: 3 }
      act(s, { type: 'acted', ...place, key: 'other', token: 'token of other' })
    },
  }),
  ...bad('answersAreInTheLedger', {
    'an executor is told to proceed a second before that is written': ({ begun }) => {
      begun.commit.committedAt += 1_000
    },
    'an executor is told to proceed, and another begin is written': ({ begun }) => {
      rowOf(begun.commit, 'effects').begin_id = 'of another'
    },
    'an executor is told that it was done, which nobody has said': ({ begun }) => {
      Object.assign(begun.answered.body as object, { outcome: 'committed' })
      begun.answered.at -= 30
    },
    'an executor is told that its commit counts, and it was aborted': ({ givenUp }) => {
      givenUp.asked.path = givenUp.asked.path.replace('abort', 'commit')
    },
  }),
]

function bad(rule: string, stories: Record<string, (good: GoodStory) => void>): BadStory[] {
  return Object.entries(stories).map(([title, change]) => ({ title, invariant: 5, rule, change }))
}

function act(s: GoodStory['s'], event: ActedEvent) {
  s.events.push(event)
}
