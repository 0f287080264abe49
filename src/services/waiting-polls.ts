import { limits } from '../contract/common.ts'
import { allowance } from '../domain/executor-health.ts'
import type { ClaimedRow, Slot } from '../sql/claims.ts'
import { listHolders } from '../sql/executor-health.ts'
import type { Queryable } from '../sql/pool.ts'
import { type DirectoryEntry, isOpenToWork, type Profile } from './executor-directory.ts'
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

  entries(): DirectoryEntry[] {
    return [...this.#byProfile.values()].flatMap((polls) =>
      [...polls.values()].map(({ entry }) => entry),
    )
  }

  /** The classes that somebody waits for. */
  classes(): number[] {
    const classIds = [...this.#byProfile.keys()].flatMap((profile) => [...profile.classIds])
    return [...new Set(classIds)]
  }

  /** Who waits for a class that is ready, and may be given work; the longest waiting first. */
  groups(ready: ReadyClasses, isOpen: (entry: DirectoryEntry) => boolean): Group[] {
    const groups: Group[] = []
    for (const [profile, polls] of this.#byProfile) {
      const classIds = ready.within(profile.classIds)
      if (classIds.length === 0) continue
      const open = polls.values().filter(({ entry }) => isOpen(entry))
      const first = [...open.take(pollsAtOnce)]
      if (first.length > 0) groups.push({ classIds, polls: first })
    }
    return groups
  }
}

/** Dealt round by round, so that a few jobs go to many executors rather than all to the first. */
export function dealSlots(polls: WaitingPoll[]): Slot[] {
  const slots: Slot[] = []
  const most = polls.map(({ entry, max }) => allowance(entry.standing, max))
  const takers = polls.map(({ entry: { executorId, epoch }, pollId }): Slot => {
    return { executor_id: executorId, epoch, poll_id: pollId }
  })
  const rounds = Math.max(0, ...most)
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, taker] of takers.entries()) {
      if (round >= (most[index] ?? 0)) continue
      if (slots.length === limits.assignments) return slots
      slots.push(taker)
    }
  }
  return slots
}

/** A degraded executor is given a job only while it holds none. Only this flush gives any, so that the answer
 *  is still true when it claims. */
export async function withoutBusy(tx: Queryable, polls: WaitingPoll[]): Promise<WaitingPoll[]> {
  const degraded = polls.filter(({ entry }) => entry.standing.health === 'degraded')
  if (degraded.length === 0) return polls
  const ids = degraded.map(({ entry }) => entry.executorId)
  const holders = new Set(await listHolders(tx, ids))
  for (const { entry } of degraded) entry.isBusy = holders.has(entry.executorId)
  return polls.filter(({ entry }) => isOpenToWork(entry))
}
