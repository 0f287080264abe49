import { isDeepStrictEqual } from 'node:util'
import { Book, executors } from './book.ts'
import type { Answer, Call } from './calls.ts'
import { isUnanswered } from './calls.ts'
import type { Step } from './commands.ts'
import { differences } from './differences.ts'
import type { Change } from './kinds.ts'
import { coursesOf, stateAfterGiveBack } from './rules/model.ts'
import { type State, startingState } from './rules/state.ts'
import { viewOf } from './rules/view.ts'
import { Story } from './story.ts'
import type { JobView, View } from './tables.ts'
import { mayHaveBeenTold } from './unanswered.ts'
import { finals, Watch } from './watch.ts'

/** The real thing did what the model has no explanation for, or what must never be. */
export class Disagreement extends Error {
  readonly story: string[]

  constructor(what: string[], story: Story) {
    super(what[0] ?? 'they disagree')
    this.story = [...story.lines, '', ...what.map((line) => story.rename(line))]
  }
}

/** What is called, and looked at. */
export interface System {
  /** Back to nothing. Terms go on from where they are: returns the latest. */
  wipe(): Promise<number>
  call(call: Call): Promise<Answer>
  look(): Promise<View>
}

/** Of what was drawn; a change if nothing else was under way. */
export type OnAnswer = (call: Call, answer: Answer, change: Change | undefined) => void

/** One sequence: each step is done to the real thing and to the model, and then they are compared. Where several calls were
 *  under way at the same time, any order of them explains what came of it. */
export class Sequence {
  readonly #system: System
  readonly #book = new Book()
  readonly #story = new Story()
  readonly #watch = new Watch()
  #view: View
  /** All that the model may be in: what is in memory alone cannot be looked at. */
  #possible: State[]

  private constructor(system: System, term: number, view: View) {
    this.#system = system
    this.#view = view
    this.#possible = [{ ...startingState, term }]
  }

  /** From nothing to everything that was acknowledged having come to an end. Throws Disagreement. */
  static async run(system: System, steps: Step[], onAnswer: OnAnswer): Promise<void> {
    const term = await system.wipe()
    const sequence = new Sequence(system, term, await system.look())
    for (const step of beginning) await sequence.#take(step)
    for (const step of steps) await sequence.#take(step, onAnswer)
    await sequence.#end()
  }

  async #take(step: Step, onAnswer?: OnAnswer): Promise<void> {
    const calls = compatible(
      step.flatMap((command) => this.#book.callOf(command, this.#view) ?? []),
      this.#view.term,
    )
    if (calls.length === 0) return
    const answers = await Promise.all(calls.map((call) => this.#system.call(call)))
    const view = await this.#system.look()
    const change = calls.length === 1 ? { before: this.#view, after: view } : undefined
    for (const [index, call] of calls.entries()) {
      const answer = answers[index] as Answer
      this.#book.learn(call, answer)
      onAnswer?.(call, answer, change)
    }
    this.#book.see(view)
    this.#story.add(calls, answers)
    const wrongs = this.#watch.see(this.#view, view, calls, answers)
    if (wrongs.length > 0) throw new Disagreement(wrongs, this.#story)
    this.#follow(calls, answers, view)
    this.#view = view
  }

  #follow(calls: Call[], answers: Answer[], view: View): void {
    const reached = this.#possible.flatMap((state) => statesAfter(state, calls, answers, view))
    const fitting = reached.filter((state) => isDeepStrictEqual(viewOf(state), view))
    const distinct = new Map(fitting.map((state) => [JSON.stringify(state), state]))
    if (distinct.size === 0)
      throw new Disagreement(this.#explain(calls, answers, view), this.#story)
    this.#possible = [...distinct.values()]
  }

  /** What one would have expected, of the order in which the calls are told. */
  #explain(calls: Call[], answers: Answer[], view: View): string[] {
    let state = this.#possible[0] as State
    const lines = ['the model has no explanation for the last step:']
    for (const [index, call] of calls.entries()) {
      const seen = answers[index] as Answer
      const [course] = coursesOf(state, call, seen, calls.length === 1)
      if (!course) continue
      if (!isDeepStrictEqual(course.answer, seen)) {
        lines.push(`  ${call.do} was answered   ${JSON.stringify(seen)}`)
        lines.push(`  the model would answer ${JSON.stringify(course.answer)}`)
      }
      state = course.state
      if (call.do === 'heartbeat') state = stateAfterGiveBack(state, call.executor)
    }
    return [...lines, ...differences(view, viewOf(state)).map((line) => `  ${line}`)]
  }

  /** Every acknowledged job reaches exactly one end, whatever was done to it (invariants 3 and 6). */
  async #end(): Promise<void> {
    // Again where that got no answer.
    for (let tries = 0; tries < 3 && this.#view.jobs.some(isWanted); tries += 1) {
      for (const place of this.#view.jobs.keys())
        await this.#take([{ do: 'cancel', job: place, on: 0 }])
    }
    for (const step of ending) await this.#take(step)
    const open = this.#view.jobs.filter(({ state }) => !finals.has(state))
    if (open.length === 0) return
    const names = open.map(({ id, state }) => `${id} is still ${state}`)
    throw new Disagreement(['cancelled, and long past every deadline:', ...names], this.#story)
  }
}

/** Nobody has asked for its end, and it has none. */
function isWanted({ state, isCancelRequested }: JobView): boolean {
  return !isCancelRequested && !finals.has(state)
}

/** A leader that has served for longer than its floor, and two executors. */
const beginning: Step[] = [
  [{ do: 'promote' }],
  ...executors.map((_id, who): Step => [{ do: 'register', who, at: 'active' }]),
  [{ do: 'pass', min: 6, isServed: true }],
]

/** Who is heard is told, and does nothing about it; what is left then runs out. */
const ending: Step[] = [
  ...executors.map((_id, who): Step => {
    return [{ do: 'heartbeat', who, isOld: false, mask: 15, at: 'active' }]
  }),
  [{ do: 'pass', min: 3, isServed: true }],
  [{ do: 'sweep', name: 'end_unanswered_cancels', at: 'active' }],
  [{ do: 'pass', min: 6, isServed: true }],
  [{ do: 'pass', min: 6, isServed: true }],
  [{ do: 'sweep', name: 'expire_leases', at: 'active' }],
  [{ do: 'sweep', name: 'expire_transitions', at: 'active' }],
]

/** At the same time there is one promotion at most, and one registration and one poll of each executor: of two
 *  registrations in one batch the older is refused, in whichever order they are told, and of two polls the older may have
 *  claimed what goes back because the newer has taken its place. And it is the one that thinks it leads still that is
 *  promoted. */
function compatible(calls: Call[], term: number): Call[] {
  const isPromoted = calls.some((call) => call.do === 'promote')
  const seen = new Set<string>()
  return calls.filter((call) => {
    if (isPromoted && 'term' in call && call.term < term) return false
    const name = aloneAs(call)
    if (name === undefined) return true
    const isFirst = !seen.has(name)
    seen.add(name)
    return isFirst
  })
}

function aloneAs(call: Call): string | undefined {
  if (call.do === 'promote') return call.do
  return call.do === 'register' || call.do === 'poll' ? `${call.do} ${call.executor}` : undefined
}

/** Where every order of these calls leads that explains their answers. What a heartbeat gives back goes after it, and others
 *  may come before that. */
function statesAfter(before: State, calls: Call[], answers: Answer[], view: View): State[] {
  const isAlone = calls.length === 1
  const steps = calls.map((call, index) => (state: State) => {
    const seen = answers[index] as Answer
    return isUnanswered(seen)
      ? stepInTheDark(state, call, view)
      : stepFrom(state, call, seen, isAlone)
  })
  const heartbeats = calls.flatMap((call, index) =>
    call.do === 'heartbeat' ? [{ call, index }] : [],
  )
  const giveBacks = heartbeats.map(({ call }) => (state: State) => [
    stateAfterGiveBack(state, call.executor),
  ])
  const all = [...steps, ...giveBacks]
  const orders = permutationsOf([...all.keys()]).filter((order) =>
    heartbeats.every(({ index }, n) => order.indexOf(index) < order.indexOf(calls.length + n)),
  )
  return orders.flatMap((order) =>
    order.reduce((states, place) => states.flatMap((state) => all[place]?.(state) ?? []), [before]),
  )
}

function stepFrom(state: State, call: Call, seen: Answer, isAlone: boolean): State[] {
  return coursesOf(state, call, seen, isAlone)
    .filter(({ answer }) => isDeepStrictEqual(answer, seen))
    .map((course) => course.state)
}

/** Of a commit that was not answered nobody knows whether it was made; and of a sweep, how many were. */
function stepInTheDark(state: State, call: Call, view: View): State[] {
  const courses = mayHaveBeenTold(call, state, view).flatMap((told) =>
    coursesOf(state, call, told, false),
  )
  return [state, ...courses.map((course) => course.state)]
}

function permutationsOf<T>(items: T[]): T[][] {
  if (items.length < 2) return [items]
  return items.flatMap((item, place) =>
    permutationsOf(items.toSpliced(place, 1)).map((rest) => [item, ...rest]),
  )
}
