import type { HistoryEvent } from './events.ts'
import type { GoodStory } from './good-story.ts'
import { heartbeatMs } from './stories.ts'

/** What is wrong with a history, and the one change that makes it so. */
export interface BadStory {
  title: string
  invariant: number
  /** The rule that has to find it. */
  rule: string
  change(good: GoodStory): void
}

/** What looks like a fault and is none. */
export interface LawfulStory {
  title: string
  change(good: GoodStory): void
}

/** x1 is given job-5 and asks on, `times` heartbeats long; nobody answers. */
export function holdUnheard(s: GoodStory['s'], times: number) {
  s.claim('x1', 'job-5')
  askUnheard(s, times)
}

/** x1 asks for job-5; nobody answers. */
export function askUnheard(s: GoodStory['s'], times: number) {
  for (let tried = 0; tried < times; tried += 1) {
    s.wait(heartbeatMs)
    s.lose(s.askToBeat('x1', [{ job_id: 'job-5', fence: s.fenceOf('job-5') }]), false)
  }
}

/** x1 is given job-5, and the answer that says so does not come until `hear`. */
export function giveUnheard(s: GoodStory['s']) {
  const poll = s.ask('/v1/executors/x1/poll', { epoch: 1 })
  s.lease('x1', 'job-5')
  const assignments = [{ job_id: 'job-5', fence: s.fenceOf('job-5') }]
  return { hear: () => s.answer(poll, 200, { assignments }) }
}

export function remove(events: HistoryEvent[], ...gone: HistoryEvent[]) {
  for (const event of gone) events.splice(events.indexOf(event), 1)
}
