/** What every contender can be asked for. Rates are told by who is measured, from the first call to the last answer. */
export interface Contender {
  [act: string]: (order: never) => Promise<unknown>
  /** Makes jobs, for a round to come or to see how fast: in portions of `size`, so many at once. Seconds. */
  submit(order: { jobs: number; size: number; abreast: number }): Promise<number>
  /** Does all jobs that there are, so many at once. Seconds. */
  work(order: Work): Promise<number>
}

export interface Work {
  jobs: number
  /** How many jobs a call fetches, and how many it settles. */
  size: number
  /** How many do so side by side. */
  abreast: number
}
