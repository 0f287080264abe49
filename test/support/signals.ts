/** The events of a union that can be of this type. */
type OfType<Event, Type> = Event extends { type: infer Own }
  ? Type extends Own
    ? Event
    : never
  : never

/** Named signals that the code under test fires, for tests to wait for. Nothing is missed: what was
 *  fired before somebody waits is kept. */
export class Signals<Event extends { type: string }> {
  readonly fired: Event[] = []
  #waiting: { matches(event: Event): boolean; resolve(event: Event): void }[] = []

  fire(event: Event): void {
    this.fired.push(event)
    for (const waiter of this.#waiting.filter(({ matches }) => matches(event))) {
      waiter.resolve(event)
    }
    this.#waiting = this.#waiting.filter(({ matches }) => !matches(event))
  }

  /** The first event, past or future, that is of this type and passes. */
  wait<Type extends Event['type']>(
    type: Type,
    passes: (event: OfType<Event, Type>) => boolean = () => true,
  ): Promise<OfType<Event, Type>> {
    type Wanted = OfType<Event, Type>
    const matches = (event: Event) => event.type === type && passes(event as Wanted)
    const past = this.fired.find(matches)
    if (past) return Promise.resolve(past as Wanted)
    return new Promise((resolve) => {
      this.#waiting.push({ matches, resolve: (event) => resolve(event as Wanted) })
    })
  }
}
