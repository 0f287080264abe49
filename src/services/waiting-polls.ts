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
  /** Higher than that of any that came before. */
  turn: number
}

/** Polls that one claim statement serves: they can all do the same ready classes. */
export interface Group {
  classIds: number[]
  polls: WaitingPoll[]
}

/** Whether a claim may serve it now. */
type IsOpen = (entry: DirectoryEntry) => boolean

/** Most polls that one claim serves. */
const pollsAtOnce = 64

/** The polls that wait for work, by what their executors can do; at most one for each executor. */
export class WaitingPolls {
  readonly #byProfile = new Map<Profile, Map<string, WaitingPoll>>()
  #turn = 0

  get isEmpty(): boolean {
    return this.#byProfile.size === 0
  }

  enter(coming: Omit<WaitingPoll, 'turn'>): WaitingPoll {
    this.#turn += 1
    const poll = { ...coming, turn: this.#turn }
    const { profile, executorId } = poll.entry
    const polls = this.#byProfile.get(profile) ?? new Map<string, WaitingPoll>()
    this.#byProfile.set(profile, polls.set(executorId, poll))
    return poll
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
  classes(): Set<number> {
    const classIds = new Set<number>()
    for (const profile of this.#byProfile.keys()) {
      for (const classId of profile.classIds) classIds.add(classId)
    }
    return classIds
  }

  /** Who waits for a class that is ready, and may be given work; the longest waiting first, in a group and of groups.
   *  What they could do beside what is ready makes no difference: executors may each have a label of their own. */
  groups(ready: ReadyClasses, isOpen: IsOpen): Group[] {
    const byClasses = new Map<string, Group>()
    const found: { poll: WaitingPoll; group: Group }[] = []
    for (const [profile, polls] of ready.isEmpty ? [] : this.#byProfile) {
      const classIds = ready.within(profile.classIds).sort((a, b) => a - b)
      if (classIds.length === 0) continue
      const key = classIds.join()
      const group = byClasses.get(key) ?? { classIds, polls: [] }
      byClasses.set(key, group)
      const open = polls.values().filter(({ entry }) => isOpen(entry))
      for (const poll of open.take(pollsAtOnce)) found.push({ poll, group })
    }
    const groups = new Set<Group>()
    for (const { poll, group } of found.sort((a, b) => a.poll.turn - b.poll.turn)) {
      if (group.polls.length < pollsAtOnce) group.polls.push(poll)
      groups.add(group)
    }
    return [...groups]
  }
}

/** Polls that came while a class of theirs was ready, and when: their time runs out only once flushes have had the
 *  chance to serve them, or one that waits for nothing would find nothing under load. */
export class EagerPolls {
  readonly #cameAt = new Map<WaitingPoll, number>()

  /** Whether it is one. */
  enter(poll: WaitingPoll, ready: ReadyClasses, isOpen: IsOpen): boolean {
    const { entry, waiter } = poll
    if (!isOpen(entry) || ready.within(entry.profile.classIds).length === 0) return false
    this.#cameAt.set(poll, ready.now())
    waiter.hold()
    return true
  }

  /** Lets go of those for whom nothing is left of what was ready when they came, or nothing for now. */
  unhold(ready: ReadyClasses, isOpen: IsOpen): void {
    for (const [poll, cameAt] of this.#cameAt) {
      const { entry, waiter } = poll
      const isAnyLeft = () => ready.isAnySince(entry.profile.classIds, cameAt)
      if (!waiter.isSettled && isOpen(entry) && isAnyLeft()) continue
      this.#cameAt.delete(poll)
      waiter.unhold()
    }
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
