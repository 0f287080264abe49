import type { Stage } from './stage.ts'

/** Something that is measured, again and again. */
export interface Bench {
  name: string
  title: string
  /** What exactly is done, for who reads the figures: a sentence each. */
  how: string[]
  goals: Goal[]
  /** Of Postgres, where its own do not do. */
  settings?: Record<string, string>
  run(stage: Stage, effort: Effort): Promise<Series[]>
}

export interface Effort {
  rounds: number
  /** Only to see that it works: as little as possible of everything. */
  isShort: boolean
  /** Says what is under way. */
  step(text: string): void
}

/** One figure, a value for each round. */
export interface Series {
  name: string
  unit: string
  values: number[]
}

/** What the median of a series should be. Ratios are series, too: of the two values of each round. */
export type Goal = { letter: string; series: string } & ({ atLeast: number } | { atMost: number })

/** Gathers series by name while rounds go by. */
export class Sheet {
  readonly #series = new Map<string, Series>()

  note(name: string, unit: string, value: number): void {
    const series = this.#series.get(name) ?? { name, unit, values: [] }
    series.values.push(value)
    this.#series.set(name, series)
  }

  /** Adds `name`: of each round, the one divided by the other. */
  ratio(name: string, above: string, below: string): void {
    const [of, by] = [this.#series.get(above)?.values ?? [], this.#series.get(below)?.values ?? []]
    for (const [round, value] of of.entries())
      this.note(name, '×', value / (by[round] ?? Number.NaN))
  }

  get all(): Series[] {
    return [...this.#series.values()]
  }
}
