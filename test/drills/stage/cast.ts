import { join } from 'node:path'
import { Actor, type FleetOrders, type Part } from './actors.ts'
import { releaseQueue } from './release.ts'

const releasesPerSecond = 2
const fleets = { direct: 6, balanced: 2 }
const capacity = 8

export interface CastOptions {
  folder: string
  token: string
  /** Of all replicas. */
  direct: string[]
  /** Of the balancer, and of replicas that it does not know. */
  balanced: string[]
  workMs: number
  /** Jobs a second, of each submitter. */
  ratePerSecond: number
  /** Executors with a process each, which have the releases for themselves; default: none, and everybody has them. */
  solos?: number | undefined
}

/** Who takes part in a stage: executors and submitters, some of which reach the replicas by a list of URLs and some
 *  through the balancer, and a desk that sees releases to their end. Everybody works on everybody's jobs. */
export class Cast {
  readonly submitters: Actor[] = []
  readonly fleets: Actor[] = []
  /** Executors from the beginning. */
  readonly executors: number
  readonly #o: CastOptions
  readonly #parts = new Map<Actor, Extract<Part, { program: 'fleet' }>>()

  constructor(options: CastOptions) {
    this.#o = options
    const { solos = 0 } = options
    this.executors = fleets.direct + fleets.balanced + solos
    const queues = ['direct', 'balanced', ...(solos > 0 ? [] : [releaseQueue])]
    for (const way of ['direct', 'balanced'] as const) {
      this.addFleet(
        `fleet-${way}`,
        Array.from({ length: fleets[way] }, (_, n) => `${way}-${n + 1}`),
        { urls: options[way], queues },
        capacity,
      )
      this.#addSubmitter(way)
    }
    for (let n = 1; n <= solos; n += 1) {
      const place = { urls: options.direct, queues: [releaseQueue] }
      this.addFleet(`solo-${n}`, [`solo-${n}`], place, capacity)
    }
    this.submitters.push(this.#startDesk())
  }

  get all(): Actor[] {
    return [...this.submitters, ...this.fleets]
  }

  find(name: string): Actor {
    const actor = this.all.find((each) => each.name === name)
    if (!actor) throw new Error(`no ${name} takes part`)
    return actor
  }

  addFleet(
    actor: string,
    ids: string[],
    place: Pick<FleetOrders['executors'][number], 'urls' | 'queues'>,
    capacity = 1,
  ): Actor {
    const executors = ids.map((id) => ({ id, ...place }))
    const orders = { ...this.#orders(actor), outside: this.#outside, capacity, executors }
    return this.#startFleet({ program: 'fleet', orders })
  }

  /** It is gone, and takes part no more. */
  dismiss(fleet: Actor): Promise<void> {
    this.fleets.splice(this.fleets.indexOf(fleet), 1)
    return fleet.end()
  }

  /** A new process of the same executors. Its requests are told apart by its name. */
  replace(fleet: Actor): Actor {
    const part = this.#parts.get(fleet)
    if (!part) throw new Error(`${fleet.name} is no fleet`)
    const [name, life = 1] = fleet.name.split('.')
    const orders = { ...part.orders, ...this.#orders(`${name}.${Number(life) + 1}`) }
    return this.#startFleet({ ...part, orders })
  }

  #startFleet(part: Extract<Part, { program: 'fleet' }>): Actor {
    const fleet = this.#start(part)
    this.#parts.set(fleet, part)
    this.fleets.push(fleet)
    return fleet
  }

  #startDesk(): Actor {
    const { direct: urls, workMs } = this.#o
    const own = { urls, ratePerSecond: releasesPerSecond, workMs, outside: this.#outside }
    return this.#start({ program: 'desk', orders: { ...this.#orders('desk'), ...own } })
  }

  #addSubmitter(way: 'direct' | 'balanced') {
    const { workMs, ratePerSecond } = this.#o
    const orders = { ratePerSecond, queue: way, workMs, urls: this.#o[way] }
    const own = { ...this.#orders(`submitter-${way}`), ...orders }
    this.submitters.push(this.#start({ program: 'submitter', orders: own }))
  }

  #orders(actor: string) {
    const { folder, token } = this.#o
    return { actor, token, history: join(folder, `${actor}.jsonl`) }
  }

  get #outside(): string {
    return join(this.#o.folder, 'outside.jsonl')
  }

  #start(part: Part): Actor {
    return new Actor(part, join(this.#o.folder, `${part.orders.actor}.log`))
  }
}
