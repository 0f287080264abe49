import type { Answer, Call, Lease } from './calls.ts'
import { isRefused } from './calls.ts'
import type { Addressee, Command, Guise } from './commands.ts'
import type { View } from './tables.ts'

/** What all who call know together: every lease that was ever given, every begin, every token, whatever became of it.
 *  Old ones are used again: that is what makes a caller stale. */
export class Book {
  readonly #terms: number[] = []
  readonly #epochs: Record<string, number[]> = {}
  readonly #leases: Lease[] = []
  readonly #begins: { lease: Lease; key: string; beginId: string }[] = []
  readonly #jobs: string[] = []
  readonly #tokens: { job: string; token: string }[] = []
  readonly #pollIds = new Map<string, string>()
  #began = 0
  #polled = 0

  /** What a command means now; undefined: there is nothing that it could be about. */
  callOf(command: Command, view: View): Call | undefined {
    if (command.do === 'pass' || command.do === 'promote') return command
    if ('at' in command) {
      const term = this.#termOf(command.at)
      return term === undefined ? undefined : this.#leaderCall(command, view, term)
    }
    return this.#clientCall(command, view)
  }

  learn(call: Call, answer: Answer): void {
    // Whatever was answered to it, it was sent.
    if (call.do === 'begin') {
      this.#begins.push({ lease: call.lease, key: call.key, beginId: call.beginId })
    }
    if (isRefused(answer)) return
    const { ok } = answer
    if (call.do === 'promote') this.#terms.push(Number(ok.term))
    if (call.do === 'register') this.#epochsOf(call.executor).push(Number(ok.epoch))
    if ((call.do === 'submit' || call.do === 'retry') && ok.isNew) this.#jobs.push(String(ok.job))
    if (call.do === 'own') this.#tokens.push({ job: call.job, token: String(ok.token) })
    if (call.do === 'poll') {
      const { executor, epoch } = call
      for (const { job, fence } of ok.given as Lease[]) {
        this.#leases.push({ job, fence, executor, epoch })
      }
    }
  }

  /** Jobs of whose submission no answer came. */
  see(view: View): void {
    for (const { id } of view.jobs) if (!this.#jobs.includes(id)) this.#jobs.push(id)
  }

  /** A new one, or that of its latest poll, whose answer got lost. */
  #pollId(executor: string, isAgain: boolean): string {
    this.#polled += 1
    const id = (isAgain ? this.#pollIds.get(executor) : undefined) ?? `poll-${this.#polled}`
    this.#pollIds.set(executor, id)
    return id
  }

  #epochsOf(executor: string): number[] {
    this.#epochs[executor] ??= []
    return this.#epochs[executor]
  }

  #termOf(at: Addressee): number | undefined {
    return this.#terms.at(at === 'active' ? -1 : -2)
  }

  #epochOf(executor: string, isOld: boolean): number {
    const epochs = this.#epochsOf(executor)
    return (isOld ? epochs.at(-2) : epochs.at(-1)) ?? 1
  }

  #inGuise(lease: Lease, as: Guise): Lease {
    if (as === 'itself') return lease
    const executor = as === 'renewed' ? lease.executor : otherOf(lease.executor)
    return { ...lease, executor, epoch: this.#epochOf(executor, false) }
  }

  #leaderCall(
    command: Extract<Command, { at: Addressee }>,
    view: View,
    term: number,
  ): Call | undefined {
    if (command.do === 'sweep') return { do: 'sweep', name: command.name, term }
    if ('who' in command) return this.#executorCall(command, view, term)
    return this.#leaseCall(command, term)
  }

  #executorCall(command: Extract<Command, { who: number }>, view: View, term: number): Call {
    const executor = executors[command.who % executors.length] as string
    if (command.do === 'register') return { do: 'register', executor, term }
    const epoch = this.#epochOf(executor, command.isOld)
    if (command.do === 'deregister')
      return { do: 'deregister', executor, epoch, by: command.by, term }
    if (command.do === 'poll') {
      const { max } = command
      const isAgain = command.isAgain && command.at === 'active'
      return { do: 'poll', executor, epoch, max, pollId: this.#pollId(executor, isAgain), term }
    }
    // Of what it was given and may believe to hold, as much as the mask lets through.
    const theirs = this.#leases.filter((lease) => lease.executor === executor).slice(-4)
    const held = theirs.filter(({ job, fence }) =>
      view.jobs.some((row) => row.id === job && row.fence === fence),
    )
    const listed = held
      .filter((_lease, place) => (command.mask >> place) & 1)
      .map((lease) => ({ ...lease, epoch }))
    return { do: 'heartbeat', executor, epoch, listed, term }
  }

  #leaseCall(
    command: Exclude<Extract<Command, { at: Addressee }>, { who: number } | { do: 'sweep' }>,
    term: number,
  ): Call | undefined {
    if (command.do === 'begin_again') return this.#beginAgain(command, term)
    if (command.do === 'settle') {
      const begin = pick(this.#begins, command.begin)
      if (!begin) return undefined
      const { key, beginId } = begin
      const lease = this.#inGuise(begin.lease, command.as)
      return { do: 'settle', lease, key, beginId, as: command.to, term }
    }
    const given = pick(this.#leases, command.lease)
    if (!given) return undefined
    const lease = this.#inGuise(given, command.as)
    if (command.do === 'report') {
      const { outcome, retryable } = command
      return { do: 'report', lease, outcome, retryable, term }
    }
    if (command.do === 'critical') {
      const { enter, ceilingMin } = command
      return { do: 'critical', lease, enter, ceilingMin, term }
    }
    this.#began += 1
    const { key, onDoubt } = command
    return { do: 'begin', lease, key, beginId: `begin-${this.#began}`, onDoubt, term }
  }

  /** The same begin, its answer lost; or under another lease, as by somebody who kept its id. */
  #beginAgain(
    { begin, lease: place }: Extract<Command, { do: 'begin_again' }>,
    term: number,
  ): Call | undefined {
    const before = pick(this.#begins, begin)
    if (!before) return undefined
    const lease = (place === null ? undefined : pick(this.#leases, place)) ?? before.lease
    return { do: 'begin', ...before, lease, onDoubt: 'retry', term }
  }

  /** At the job that began it, or at the latest one that retries it. */
  #resolve(
    { begin, isInherited, to, on: replica }: Extract<Command, { do: 'resolve' }>,
    view: View,
  ): Call | undefined {
    const begun = pick(this.#begins, begin)
    if (!begun) return undefined
    const heirOf = (id: string): string => {
      const heir = view.jobs.find((job) => job.id === id)?.retriedAs
      return heir && isInherited ? heirOf(heir) : id
    }
    return { do: 'resolve', job: heirOf(begun.lease.job), key: begun.key, as: to, replica }
  }

  #clientCall(
    command: Exclude<Command, { at: Addressee } | { do: 'pass' | 'promote' }>,
    view: View,
  ): Call | undefined {
    const { on, ...asked } = command
    if (asked.do === 'submit') return { ...asked, replica: on }
    if (asked.do === 'commit' || asked.do === 'abandon') {
      const token = pick(this.#tokens, asked.token)
      if (!token) return undefined
      if (asked.do === 'commit') {
        const to = targetOf(view, token.job, asked.to)
        return { do: 'commit', ...token, to, replica: on }
      }
      return {
        do: 'abandon',
        job: token.job,
        token: asked.isForced ? null : token.token,
        replica: on,
      }
    }
    if (asked.do === 'resolve') return this.#resolve({ ...asked, on }, view)
    const isStaged = (id: string) => view.stages.some(({ job }) => job === id)
    const isOfStages = asked.do === 'transition' || asked.do === 'own'
    const job = pick(isOfStages ? this.#jobs.filter(isStaged) : this.#jobs, asked.job)
    return job === undefined ? undefined : jobCall({ ...asked, on }, job, view)
  }
}

export const executors = ['e1', 'e2']

function otherOf(executor: string): string {
  return executors.find((id) => id !== executor) ?? executor
}

function pick<T>(items: T[], fromLatest: number): T | undefined {
  return items.at(-1 - (fromLatest % Math.max(1, items.length)))
}

function jobCall(
  command: Extract<Command, { do: 'cancel' | 'retry' | 'transition' | 'own' }>,
  job: string,
  view: View,
): Call {
  const { on: replica } = command
  switch (command.do) {
    case 'cancel':
    case 'retry':
      return { do: command.do, job, replica }
    case 'own': {
      const { owner, boot, ceilingMin } = command
      return { do: 'own', job, from: stageOf(view, job), owner, boot, ceilingMin, replica }
    }
    case 'transition': {
      const { isHere, key } = command
      const now = view.jobs.find(({ id }) => id === job)?.move ?? 0
      const move = { any: null, this: now, before: Math.max(0, now - 1) }[command.move]
      const from = isHere ? stageOf(view, job) : 'approve'
      const to = targetOf(view, job, command.to)
      return { do: 'transition', job, from, move, to, key, replica }
    }
  }
}

/** Where it was when last seen. */
function stageOf(view: View, job: string): string {
  return view.jobs.find(({ id }) => id === job)?.stage ?? 'nowhere'
}

/** A stage that it is not at, or an end. */
function targetOf(view: View, job: string, place: number): string {
  const here = stageOf(view, job)
  const stages = view.stages.filter((stage) => stage.job === job && stage.name !== here)
  const targets = [...stages.map(({ name }) => name), 'succeeded', 'failed']
  return targets[place % targets.length] as string
}
