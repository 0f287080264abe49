import { isDeepStrictEqual } from 'node:util'
import type { Answer, Call, Lease } from './calls.ts'
import { isRefused } from './calls.ts'
import type { JobView, View } from './tables.ts'

export const finals: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled'])

/** What must never be, whatever the model has to say about it: the invariants, by their numbers, of what was seen
 *  before and after a step, and of what was answered so far. */
export class Watch {
  readonly #given = new Map<string, string>()
  readonly #accepted = new Set<string>()
  readonly #ledger = new Ledger()

  /** What is wrong; empty: nothing. */
  see(before: View, after: View, calls: Call[], answers: Answer[]): string[] {
    return [
      ...zombieFaults(before, after, calls, answers),
      ...before.jobs.flatMap((job) => jobFaults(job, after)),
      ...historyFaults(before, after),
      ...earlyEnds(before, after),
      ...calls.flatMap((call, index) => this.#answerFaults(before, call, answers[index] as Answer)),
      ...this.#ledger.see(before, after, calls, answers),
    ]
  }

  #answerFaults(before: View, call: Call, answer: Answer): string[] {
    if (isRefused(answer)) return []
    if (call.do === 'poll') {
      return (answer.ok.given as Lease[]).flatMap(({ job, fence }) => {
        const owner = `${call.executor} ${call.epoch}`
        const before = this.#given.get(`${job} ${fence}`) ?? owner
        this.#given.set(`${job} ${fence}`, owner)
        return before === owner
          ? []
          : [`invariant 2: job ${job} has the same fence ${fence} for ${before} and ${owner}`]
      })
    }
    if (call.do !== 'report' || answer.ok.status !== 'accepted') return []
    const { job, fence } = call.lease
    const isNew = !this.#accepted.has(`${job} ${fence}`)
    this.#accepted.add(`${job} ${fence}`)
    const isTheirs = before.jobs.some((row) => row.id === job && isHeld(row, call.lease))
    return [
      ...(isNew ? [] : [`invariant 3: two reports of job ${job}, fence ${fence}, were accepted`]),
      ...(isTheirs ? [] : [`invariant 2: a report of job ${job} counted, of who did not hold it`]),
    ]
  }
}

function isHeld(job: JobView, { executor, epoch, fence }: Lease): boolean {
  const { state } = job
  const isTheirs = job.executor === executor && job.epoch === epoch && job.fence === fence
  return state === 'leased' && isTheirs
}

/** Of a step that only a replica of an older term was asked for. */
function zombieFaults(before: View, after: View, calls: Call[], answers: Answer[]): string[] {
  const areAll = calls.every((call) => 'term' in call && call.term < before.term)
  if (!areAll || calls.length === 0) return []
  const isNothing = answers.every(
    (answer) => isRefused(answer) || Object.values(answer.ok).flat().length === 0,
  )
  return isNothing && isDeepStrictEqual(before, after)
    ? []
    : ['invariant 1: a replica of an older term wrote, or gave something out']
}

function jobFaults(before: JobView, view: View): string[] {
  const { id, state, fence, isCancelRequested } = before
  const after = view.jobs.find((job) => job.id === id)
  if (!after) return [`invariant 3: job ${id} is gone`]
  const faults: string[] = []
  if (after.fence < fence) faults.push(`invariant 2: the fence of job ${id} was lowered`)
  const isSame = after.state === state && after.fence === fence && after.stage === before.stage
  if (finals.has(state) && !isSame) {
    faults.push(`invariant 3: job ${id} was ${state}, and is ${after.state} at ${after.stage}`)
  }
  const allowed = [state, 'cancelled', 'succeeded']
  if (isCancelRequested && !allowed.includes(after.state)) {
    faults.push(
      `invariant 6: job ${id} was to be cancelled, and went from ${state} to ${after.state}`,
    )
  }
  if ((after.state === 'leased') !== (after.executor !== null)) {
    faults.push(`invariant 2: job ${id} is ${after.state}, and held by ${after.executor}`)
  }
  return faults
}

/** Evidence stays as it is. */
function historyFaults(before: View, after: View): string[] {
  const lists = ['attempts', 'moves', 'late'] as const
  return lists.flatMap((list) => {
    const rows = new Set(after[list].map((row) => JSON.stringify(row)))
    const isKept = before[list].every((row) => rows.has(JSON.stringify(row)))
    return isKept ? [] : [`invariant 3: ${list} were changed`]
  })
}

/** Leases that were taken from executors which had time left, and had neither registered anew nor left. */
function earlyEnds(before: View, after: View): string[] {
  const known = new Set(before.attempts.map(({ job, fence }) => `${job} ${fence}`))
  const lost = after.attempts.filter(
    ({ job, fence, ending }) => ending === 'lost' && !known.has(`${job} ${fence}`),
  )
  return lost.flatMap(({ job, executor }) => {
    const { leaseLeft = null } = before.jobs.find(({ id }) => id === job) ?? {}
    const epochIn = (view: View) => view.executors.find((row) => row.executor === executor)?.epoch
    const isGone = epochIn(before) !== epochIn(after)
    const isEarly = leaseLeft !== null && leaseLeft > 0 && !isGone
    return isEarly ? [`invariant 7: job ${job} was taken away ${leaseLeft} min too early`] : []
  })
}

/** Invariant 5, of each act of each job and of the jobs that retry it. */
class Ledger {
  /** Begins that were told to proceed, and are not known to have been for nothing. */
  readonly #open = new Map<string, string>()
  readonly #committed = new Set<string>()

  see(before: View, after: View, calls: Call[], answers: Answer[]): string[] {
    const root = rootsOf(after)
    const acts = calls.flatMap((call, index) => {
      const answer = answers[index] as Answer
      return isRefused(answer) ? [] : [{ call, ok: answer.ok }]
    })
    const undone = acts.flatMap(({ call, ok }) => {
      const isUndone = (call.do === 'settle' || call.do === 'resolve') && ok.state === 'aborted'
      if (!isUndone) return []
      return { job: call.do === 'settle' ? call.lease.job : call.job, key: call.key }
    })
    for (const { job, key } of undone) this.#open.delete(`${root(job)} ${key}`)
    const faults = acts.flatMap(({ call, ok }) => this.#proceedFaults(root, call, ok))
    // Of a begin and an abort at the same time the abort came last where nothing is begun.
    for (const { job, key } of undone) {
      const isAborted = after.effects.some(
        (row) => row.job === job && row.key === key && row.state === 'aborted',
      )
      if (isAborted) this.#open.delete(`${root(job)} ${key}`)
    }
    return [...faults, ...this.#commitFaults(root, before, after)]
  }

  #proceedFaults(root: Root, call: Call, ok: Record<string, unknown>): string[] {
    if (call.do !== 'begin' || ok.outcome !== 'proceed') return []
    const act = `${root(call.lease.job)} ${call.key}`
    const begin = `${call.lease.job} ${call.lease.fence} ${call.beginId}`
    const open = this.#open.get(act)
    this.#open.set(act, begin)
    if (this.#committed.has(act)) return [`invariant 5: ${act} was told to proceed, and was done`]
    const isRepeated = open !== undefined && open !== begin && ok.onDoubt !== 'retry'
    return isRepeated ? [`invariant 5: ${act} was told to proceed twice: ${open}; ${begin}`] : []
  }

  #commitFaults(root: Root, before: View, after: View): string[] {
    const keyOf = ({ job, key }: { job: string; key: string }) => `${job} ${key}`
    const was = new Map(before.effects.map((effect) => [keyOf(effect), effect.state]))
    const now = new Map(after.effects.map((effect) => [keyOf(effect), effect.state]))
    const undone = [...was].filter(
      ([key, state]) => state === 'committed' && now.get(key) !== state,
    )
    const retried = new Map(after.jobs.map(({ id, retryOf }) => [id, retryOf]))
    const done = after.effects.filter(({ job, key, state }) => {
      const isInherited = was.get(`${retried.get(job)} ${key}`) === 'committed'
      return state === 'committed' && was.get(`${job} ${key}`) !== state && !isInherited
    })
    const twice = done.filter(({ job, key }) => this.#committed.has(`${root(job)} ${key}`))
    for (const { job, key } of done) this.#committed.add(`${root(job)} ${key}`)
    return [
      ...undone.map(([key]) => `invariant 5: ${key} was committed, and is so no more`),
      ...twice.map(({ job, key }) => `invariant 5: ${job} ${key} was committed twice`),
    ]
  }
}

type Root = (job: string) => string

/** The first of the jobs that retry each other. */
function rootsOf({ jobs }: View): Root {
  const retryOf = new Map(jobs.map((job) => [job.id, job.retryOf]))
  const root = (job: string): string => {
    const before = retryOf.get(job)
    return before ? root(before) : job
  }
  return root
}
