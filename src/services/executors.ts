import type { Executor, Register, Registered } from '../contract/executors.ts'
import { endByLoss, type LeaseEnd } from '../domain/lease.ts'
import { AppError } from '../errors.ts'
import type { Gate } from '../leader/gate.ts'
import type { Term } from '../leader/term.ts'
import type { Doors } from '../sql/doors.ts'
import { listExecutors, registerExecutors } from '../sql/executors.ts'
import { endLeasesIfFenced, lockLeasesOfExecutors } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import { Batcher } from './batcher.ts'
import type { Engagements } from './engagements.ts'
import { endOwnDrains, recordHeard } from './executor-changes.ts'
import type { ExecutorDirectory } from './executor-directory.ts'
import type { Lane } from './lane.ts'
import type { LeaseEnds } from './lease-ends.ts'
import type { Polls } from './polls.ts'
import { requireServing } from './serving.ts'

export interface ExecutorsOptions {
  db: Queryable
  doors: Doors
  gate: Gate
  directory: ExecutorDirectory
  polls: Polls
  leaseEnds: LeaseEnds
  lane: Lane
  /** Who comes back waits for its own. */
  departures: Engagements
  heartbeatMs: number
  leaseTtlMs: number
  selfFenceMs: number
  lostLeaseBudget: number
}

/** In one transaction; the sweep of leases takes back what is left of an older epoch. */
export const mostLeasesTakenBack = 2_000

/** Registration, and executors as people see them. */
export class Executors {
  readonly #o: ExecutorsOptions
  readonly #registrations: Batcher<Register, Registered>

  constructor(options: ExecutorsOptions) {
    this.#o = options
    this.#registrations = new Batcher({
      maxWeight: 500,
      maxWaiting: 20_000,
      flush: (items) => options.lane.run(() => this.#register(items)),
    })
  }

  /** Raises the executor's epoch. What it held under an older one is taken back at once: the process
   *  that held it is known to be gone, or to have been replaced. It comes after what it asked for as that process: who
   *  leaves and comes back gives back first. */
  async register(registration: Register): Promise<Registered> {
    requireServing(this.#o.gate)
    await this.#o.departures.before(registration.executor_id)
    return await this.#registrations.add(registration)
  }

  async list(): Promise<Executor[]> {
    return await listExecutors(this.#o.db)
  }

  async get(executorId: string): Promise<Executor> {
    const [executor] = await listExecutors(this.#o.db, executorId)
    if (!executor) throw new AppError('not_found', `no executor ${executorId} is registered`)
    return executor
  }

  async #register(items: Register[]): Promise<(Registered | AppError)[]> {
    const { directory, polls, leaseEnds } = this.#o
    const term = requireServing(this.#o.gate)
    // Two registrations of one executor in a batch: the first to come is the older process.
    const latest = new Map(items.map((item) => [item.executor_id, item]))
    const registrations = [...latest.values()]
    const { registered, ends } = await this.#raiseEpochs(term, registrations)
    const epochs = new Map(registered.map((row) => [row.executor_id, row.epoch]))
    for (const row of registered) {
      polls.cutOff(
        row.executor_id,
        new AppError('stale_epoch', `${row.executor_id} has registered anew`),
      )
      directory.put(row)
    }
    leaseEnds.announce(ends)
    return items.map((item) =>
      latest.get(item.executor_id) === item
        ? this.#toRegistered(item.executor_id, epochs.get(item.executor_id) ?? 0)
        : new AppError('stale_epoch', `${item.executor_id} was registered anew at the same time`),
    )
  }

  /** An unknown outcome may have raised the epochs all the same: then memory must not know better. */
  async #raiseEpochs(term: Term, registrations: Register[]) {
    const { doors, polls, lostLeaseBudget } = this.#o
    const ids = registrations.map(({ executor_id }) => executor_id)
    try {
      return await doors.asLeader(term, async (tx) => {
        const held = await lockLeasesOfExecutors(tx, ids, mostLeasesTakenBack)
        const ends: LeaseEnd[] = held.map((job) =>
          endByLoss(job, lostLeaseBudget, {
            tier: 'new_epoch',
            why: `executor ${job.executor_id} registered anew`,
          }),
        )
        if (ends.length > 0) await endLeasesIfFenced(tx, ends)
        const registered = await registerExecutors(tx, registrations)
        await recordHeard(tx, registered, 'registered')
        await endOwnDrains(tx, registered)
        return { registered, ends }
      })
    } catch (error) {
      for (const id of ids) {
        polls.forget(id, new AppError('database_unavailable', `${id} may have registered anew`))
      }
      throw error
    }
  }

  #toRegistered(executorId: string, epoch: number): Registered {
    const { heartbeatMs, leaseTtlMs, selfFenceMs } = this.#o
    return {
      executor_id: executorId,
      epoch,
      heartbeat_ms: heartbeatMs,
      lease_ttl_ms: leaseTtlMs,
      self_fence_ms: selfFenceMs,
    }
  }
}
