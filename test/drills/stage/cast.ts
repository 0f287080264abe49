import { join } from 'node:path'
import { Actor, type FleetOrders, type SubmitterOrders } from './actors.ts'

/** Jobs a second, of each submitter. */
const ratePerSecond = 30
const fleets = { direct: 6, balanced: 2 }
const capacity = 8

/** Executors of a stage from its beginning. */
export const executorCount = fleets.direct + fleets.balanced

export interface CastOptions {
  folder: string
  token: string
  /** Of all replicas. */
  direct: string[]
  /** Of the balancer, and of replicas that it does not know. */
  balanced: string[]
  workMs: number
}

/** Who takes part in a stage: executors and submitters, half of which reach the replicas by a list of URLs and half
 *  through the balancer. Everybody works on everybody's jobs. */
export class Cast {
  readonly submitters: Actor[] = []
  readonly fleets: Actor[] = []
  readonly #o: CastOptions

  constructor(options: CastOptions) {
    this.#o = options
    for (const way of ['direct', 'balanced'] as const) {
      this.addFleet(
        `fleet-${way}`,
        Array.from({ length: fleets[way] }, (_, n) => `${way}-${n + 1}`),
        { urls: options[way], queues: ['direct', 'balanced'] },
        capacity,
      )
      this.#addSubmitter(way)
    }
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
    const fleet = this.#start('fleet', { ...this.#orders(actor), capacity, executors })
    this.fleets.push(fleet)
    return fleet
  }

  #addSubmitter(way: 'direct' | 'balanced') {
    const { workMs } = this.#o
    const orders = { ratePerSecond, queue: way, workMs, urls: this.#o[way] }
    const submitter = this.#start('submitter', { ...this.#orders(`submitter-${way}`), ...orders })
    this.submitters.push(submitter)
  }

  #orders(actor: string) {
    const { folder, token } = this.#o
    return { actor, token, history: join(folder, `${actor}.jsonl`) }
  }

  #start(program: 'fleet' | 'submitter', orders: FleetOrders | SubmitterOrders): Actor {
    return new Actor(program, orders, join(this.#o.folder, `${orders.actor}.log`))
  }
}
