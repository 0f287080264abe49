/** Chance that is the same again for the same seed. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 to below 1 (mulberry32). */
  roll(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  between(least: number, most: number): number {
    return least + this.roll() * (most - least)
  }

  /** True in this share of all cases. */
  comesUp(share: number): boolean {
    return this.roll() < share
  }

  pick<T>(all: readonly T[]): T {
    const one = all[Math.floor(this.roll() * all.length)]
    if (one === undefined) throw new Error('there is nothing to pick from')
    return one
  }
}
