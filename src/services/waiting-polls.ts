import { limits } from '../contract/common.ts'
import type { ClaimedRow, Slot } from '../sql/claims.ts'
import type { DirectoryEntry, Profile } from './executor-directory.ts'
import type { ReadyClasses } from './ready-classes.ts'
import type { Waiter } from './wait-list.ts'

export interface WaitingPoll {
  entry: DirectoryEntry
  max: number
  pollId: string | null
  waiter: Waiter<ClaimedRow[]>
}

/** Polls that one claim statement serves: they can all do the same ready classes. */
export interface Group {
  classIds: number[]
  polls: WaitingPoll[]
}

/** Most polls that one claim serves. */
const pollsAtOnce = 64

/** The polls that wait for work, by what their executors can do; at most one for each executor. */
export class WaitingPolls {
  readonly #byProfile = new Map<Profile, Map<string, WaitingPoll>>()

  get isEmpty(): boolean {
    return this.#byProfile.size === 0
  }

  enter(poll: WaitingPoll): void {
    const { profile, executorId } = poll.entry
    const polls = this.#byProfile.get(profile) ?? new Map<string, WaitingPoll>()
    this.#byProfile.set(profile, polls.set(executorId, poll))
  }

  leave({ profile, executorId }: DirectoryEntry, waiter: Waiter<ClaimedRow[]>): void {
    const polls = this.#byProfile.get(profile)
    if (polls?.get(executorId)?.waiter !== waiter) return
    polls.delete(executorId)
    if (polls.size === 0) this.#byProfile.delete(profile)
  }

  find({ profile, executorId }: DirectoryEntry): WaitingPoll | undefined {
    return this.#byProfile.get(profile)?.get(executorId)
  }

  /** The classes that somebody waits for. */
  classes(): number[] {
    const classIds = [...this.#byProfile.keys()].flatMap((profile) => [...profile.classIds])
    return [...new Set(classIds)]
  }

  /** Who waits for a class that is ready, the longest waiting first. */
  groups(ready: ReadyClasses): Group[] {
    const groups: Group[] = []
    for (const [profile, polls] of this.#byProfile) {
      const classIds = ready.within(profile.classIds)
      if (classIds.length > 0) {
        groups.push({ classIds, polls: [...polls.values().take(pollsAtOnce)] })
      }
    }
    return groups
  }
}

/** Dealt round by round, so that a few jobs go to many executors rather than all to the first. */
export function dealSlots(polls: WaitingPoll[]): Slot[] {
  const slots: Slot[] = []
  const rounds = Math.max(0, ...polls.map(({ max }) => max))
  for (let round = 0; round < rounds; round += 1) {
    for (const { entry, max, pollId } of polls) {
      if (round >= max) continue
      if (slots.length === limits.assignments) return slots
      slots.push({ executor_id: entry.executorId, epoch: entry.epoch, poll_id: pollId })
    }
  }
  return slots
}
