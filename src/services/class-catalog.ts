import { internClasses, type JobClass, listClasses } from '../sql/classes.ts'
import type { Doors } from '../sql/doors.ts'
import type { Queryable } from '../sql/pool.ts'

type ClassName = Omit<JobClass, 'class_id'>

/** Requirements compare by content, whatever the order of their keys. */
function keyOf({ queue, kind, requires }: ClassName): string {
  const labels = Object.entries(requires).sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([queue, kind, labels])
}

/** The classes in memory. They only ever grow, so what is cached here never goes stale; what another
 *  replica has added is loaded when it is first met. */
export class ClassCatalog {
  readonly #db: Queryable
  readonly #doors: Doors
  readonly #byKey = new Map<string, number>()
  readonly #byId = new Map<number, JobClass>()

  readonly #onLearn: (jobClass: JobClass) => void

  constructor(db: Queryable, doors: Doors, onLearn: (jobClass: JobClass) => void) {
    this.#db = db
    this.#doors = doors
    this.#onLearn = onLearn
  }

  /** Every class known here, by its id. */
  get classes(): ReadonlyMap<number, JobClass> {
    return this.#byId
  }

  /** Learns what other replicas added. */
  async load(): Promise<void> {
    for (const jobClass of await listClasses(this.#db)) this.#learn(jobClass)
  }

  /** The class of each, in order; unknown ones are made. */
  async intern(names: ClassName[]): Promise<number[]> {
    const keys = names.map(keyOf)
    const unknown = new Map<string, ClassName>()
    for (const [index, name] of names.entries()) {
      const key = keys[index]
      if (key !== undefined && !this.#byKey.has(key)) unknown.set(key, name)
    }
    if (unknown.size > 0) {
      const made = await this.#doors.asClient((tx) => internClasses(tx, [...unknown.values()]))
      for (const jobClass of made) this.#learn(jobClass)
    }
    return keys.map((key) => {
      const classId = this.#byKey.get(key)
      if (classId === undefined) throw new Error(`class ${key} was not interned`)
      return classId
    })
  }

  #learn(jobClass: JobClass): void {
    if (this.#byId.has(jobClass.class_id)) return
    this.#byId.set(jobClass.class_id, jobClass)
    this.#byKey.set(keyOf(jobClass), jobClass.class_id)
    this.#onLearn(jobClass)
  }
}
