/** Classes that are believed to have something to claim. A belief may be wrong: a claim that comes back
 *  short clears it, unless the class was marked again while the claim was under way. */
export class ReadyClasses {
  #marks = new Map<number, number>()
  #clock = 0

  mark(classId: number): void {
    this.#clock += 1
    this.#marks.set(classId, this.#clock)
  }

  clear(): void {
    this.#marks = new Map()
  }

  /** A moment to hand to `drained`. */
  now(): number {
    return this.#clock
  }

  drained(classIds: number[], asOf: number): void {
    for (const classId of classIds) {
      if ((this.#marks.get(classId) ?? Infinity) <= asOf) this.#marks.delete(classId)
    }
  }

  /** The ready ones among `classIds`. */
  within(classIds: ReadonlySet<number>): number[] {
    const [few, many] =
      this.#marks.size < classIds.size ? [this.#marks, classIds] : [classIds, this.#marks]
    return [...few.keys()].filter((classId) => many.has(classId))
  }
}
