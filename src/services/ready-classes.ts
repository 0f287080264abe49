/** Classes that are believed to have something to claim. A belief may be wrong: a claim that comes back
 *  short clears it, unless the class was marked again while the claim was under way. */
export class ReadyClasses {
  /** When each was marked: first since it had nothing to claim, and last. */
  #marks = new Map<number, { first: number; last: number }>()
  #clock = 0

  mark(classId: number): void {
    this.#clock += 1
    const first = this.#marks.get(classId)?.first ?? this.#clock
    this.#marks.set(classId, { first, last: this.#clock })
  }

  get isEmpty(): boolean {
    return this.#marks.size === 0
  }

  clear(): void {
    this.#marks = new Map()
  }

  /** A moment to hand to `drained` or `isAnySince`. */
  now(): number {
    return this.#clock
  }

  drained(classIds: number[], asOf: number): void {
    for (const classId of classIds) {
      const mark = this.#marks.get(classId)
      if (!mark) continue
      if (mark.last <= asOf) this.#marks.delete(classId)
      else mark.first = Math.max(mark.first, asOf + 1)
    }
  }

  /** Whether one of these is ready, and has been all the time since then. */
  isAnySince(classIds: ReadonlySet<number>, asOf: number): boolean {
    return this.within(classIds).some((classId) => (this.#marks.get(classId)?.first ?? 0) <= asOf)
  }

  /** The ready ones among `classIds`. */
  within(classIds: ReadonlySet<number>): number[] {
    const [few, many] =
      this.#marks.size < classIds.size ? [this.#marks, classIds] : [classIds, this.#marks]
    return [...few.keys()].filter((classId) => many.has(classId))
  }
}
