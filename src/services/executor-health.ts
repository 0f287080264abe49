import type {
  Clear,
  Deregister,
  Deregistered,
  Drain,
  ExecutorHistory,
  HistoryQuery,
} from '../contract/executors.ts'
import { noTrouble } from '../domain/executor-health.ts'
import { endByDeparture, endByLoss, type LeaseEnd } from '../domain/lease.ts'
import { AppError, invalid } from '../errors.ts'
import type { Gate } from '../leader/gate.ts'
import type { Doors } from '../sql/doors.ts'
import { listExecutorEvents, recordExecutorEvents } from '../sql/executor-events.ts'
import {
  type HealthRow,
  lockHealth,
  type StandingRow,
  writeDrains,
  writeTrouble,
} from '../sql/executor-health.ts'
import { deregisterIfCurrent, type RegisteredExecutor } from '../sql/executors.ts'
import { endLeasesIfFenced, lockLeasesOfExecutors } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import { type Actor, type AuditedAction, audit } from './audit.ts'
import type { Engagements } from './engagements.ts'
import type { ExecutorDirectory } from './executor-directory.ts'
import { mostLeasesTakenBack } from './executors.ts'
import { Lane } from './lane.ts'
import type { LeaseEnds } from './lease-ends.ts'
import type { Polls } from './polls.ts'
import { requireServing } from './serving.ts'

export interface ExecutorHealthOptions {
  /** For what clients ask for. */
  clientDb: Queryable
  doors: Doors
  gate: Gate
  directory: ExecutorDirectory
  polls: Polls
  leaseEnds: LeaseEnds
  /** Shared with claims: none is under way while it is decided what an executor may be given. */
  lane: Lane
  /** Deregistrations, from when they are asked for. */
  departures: Engagements
  lostLeaseBudget: number
}

/** What is asked about an executor, by itself or by an operator. With an epoch one speaks for the process that has
 *  it, without one for the executor, whichever process it is. */
interface Asked {
  epoch?: number | undefined
  reason?: string | undefined
}

/** Drains, clears and deregisters executors, and tells what became of them. Only the active does: what it gives out
 *  next goes by its memory, which changes with the commit. */
export class ExecutorHealth {
  readonly #o: ExecutorHealthOptions
  /** Before the lane: of a fleet that goes at once each claim waits for one executor, and not for all. */
  readonly #turns = new Lane()

  constructor(options: ExecutorHealthOptions) {
    this.#o = options
  }

  /** Throws not_found, and stale_epoch for anything but the current epoch. */
  async drain(actor: Actor, executorId: string, asked: Drain): Promise<void> {
    requireEpoch(actor, asked)
    await this.#change(executorId, async (tx) => {
      const row = await lockCurrent(tx, executorId, asked)
      const { enabled = true, epoch } = asked
      await auditUnlessOwn(tx, actor, enabled ? 'drain' : 'undrain', executorId, asked)
      const own = enabled ? epoch : undefined
      const drains =
        epoch === undefined
          ? { drained: enabled, drained_epoch: enabled ? row.drained_epoch : null }
          : { drained: row.drained, drained_epoch: own ?? null }
      const standings = await writeDrains(tx, executorId, drains)
      const isDraining = standings[0]?.is_draining ?? false
      if (isDraining !== row.is_draining) {
        await record(tx, row, actor, asked, {
          axis: 'drain',
          was: row.is_draining ? 'draining' : 'accepting',
          became: isDraining ? 'draining' : 'accepting',
          reason: enabled ? 'drained' : 'undrained',
        })
      }
      return standings
    })
  }

  /** Healthy, whatever its jobs came to. Throws not_found. */
  async clear(actor: Actor, executorId: string, asked: Clear): Promise<void> {
    await this.#change(executorId, async (tx) => {
      const row = await lockCurrent(tx, executorId, {})
      const { health, failures, successes } = row
      await auditUnlessOwn(tx, actor, 'clear', executorId, asked, { health, failures, successes })
      if (health !== 'healthy') {
        const [axis, was, became] = ['health', health, 'healthy'] as const
        await record(tx, row, actor, asked, { axis, was, became, reason: 'cleared' })
      }
      return await writeTrouble(tx, [{ executor_id: executorId, ...noTrouble }])
    })
  }

  /** Ends the epoch of a process that is gone, or is taken for gone, and takes back what it holds. Sent again it is
   *  answered as the first time. Throws not_found, and stale_epoch for an epoch that ended otherwise. */
  async deregister(actor: Actor, executorId: string, asked: Deregister): Promise<Deregistered> {
    requireEpoch(actor, asked)
    const depart = () => this.#depart(actor, executorId, asked)
    return await this.#o.departures.during([executorId], depart)
  }

  #depart(actor: Actor, executorId: string, asked: Deregister): Promise<Deregistered> {
    const { directory, polls, leaseEnds } = this.#o
    return this.#inTurn(executorId, async (inTransaction) => {
      for (;;) {
        const ends: LeaseEnd[] = []
        const done = await inTransaction((tx) => {
          ends.length = 0
          return this.#end(tx, actor, executorId, asked, ends)
        })
        if (done?.row) {
          polls.cutOff(executorId, new AppError('stale_epoch', `${executorId} is deregistered`))
          directory.put(done.row)
        }
        leaseEnds.announce(ends)
        if (done) return { executor_id: executorId, epoch: done.epoch }
      }
    })
  }

  /** Newest first. */
  async history(executorId: string, { cursor, limit }: HistoryQuery): Promise<ExecutorHistory> {
    const page = { before: cursor, limit }
    const rows = await listExecutorEvents(this.#o.clientDb, executorId, page)
    const last = rows.length === limit ? rows.at(-1) : undefined
    return {
      changes: rows.map(({ was, became, ...event }) => ({ ...event, from: was, to: became })),
      next_cursor: last?.id ?? null,
    }
  }

  /** One transaction of a deregistration. Undefined: it held more than one can take back. */
  async #end(
    tx: Queryable,
    actor: Actor,
    executorId: string,
    asked: Deregister,
    ends: LeaseEnd[],
  ): Promise<{ epoch: number; row?: RegisteredExecutor | undefined } | undefined> {
    const held = await lockLeasesOfExecutors(tx, [executorId], mostLeasesTakenBack)
    const [row] = await lockHealth(tx, [executorId])
    const gone = row?.deregistered_epoch ?? undefined
    const isGone = asked.epoch === undefined ? row?.is_deregistered : gone === asked.epoch
    if (row && isGone && gone !== undefined) return { epoch: gone }
    const { epoch, state } = requireCurrent(row, executorId, asked)
    for (const job of held) {
      const isGivenBack = isItself(actor, asked) && job.epoch === epoch
      const why = `executor ${executorId} was deregistered`
      const loss = { tier: 'deregistered', why } as const
      ends.push(isGivenBack ? endByDeparture(job) : endByLoss(job, this.#o.lostLeaseBudget, loss))
    }
    if (ends.length > 0) await endLeasesIfFenced(tx, ends)
    if (held.length === mostLeasesTakenBack) return undefined
    await auditUnlessOwn(tx, actor, 'deregister', executorId, asked)
    const change = { axis: 'state', was: state, became: 'deregistered' } as const
    await record(tx, { executor_id: executorId, epoch }, actor, asked, {
      ...change,
      reason: 'deregistered',
    })
    return { epoch, row: await deregisterIfCurrent(tx, executorId, epoch) }
  }

  async #change(executorId: string, fn: (tx: Queryable) => Promise<StandingRow[]>): Promise<void> {
    await this.#inTurn(executorId, async (inTransaction) => {
      this.#o.directory.learn(await inTransaction(fn))
    })
    // It may be given work again.
    this.#o.polls.markReady([])
  }

  /** Between claims. An unknown outcome may have changed things all the same: then memory must not know better. */
  async #inTurn<T>(
    executorId: string,
    fn: (inTransaction: <R>(run: (tx: Queryable) => Promise<R>) => Promise<R>) => Promise<T>,
  ): Promise<T> {
    const { lane, gate, doors, polls } = this.#o
    const act = async () => {
      const term = requireServing(gate)
      try {
        return await fn((run) => doors.asLeader(term, run))
      } catch (error) {
        const isRefused = error instanceof AppError && error.code !== 'database_unavailable'
        if (!isRefused) {
          const message = `${executorId} is to be looked up again`
          polls.forget(executorId, new AppError('database_unavailable', message))
        }
        throw error
      }
    }
    return await this.#turns.run(() => lane.run(act))
  }
}

/** Whether a process speaks for itself: it names its epoch. An operator who names one means that very process; an
 *  admin's token may be that of an executor, too. */
function isItself({ role }: Pick<Actor, 'role'>, { epoch }: Asked): boolean {
  return epoch !== undefined && role !== 'operator'
}

/** An executor's token speaks for a process, never for those that come after it. */
function requireEpoch({ role }: Actor, { epoch }: Asked): void {
  if (role === 'executor' && epoch === undefined) {
    throw invalid('epoch', 'an executor’s token speaks for one epoch: name it')
  }
}

async function lockCurrent(tx: Queryable, executorId: string, asked: Asked): Promise<HealthRow> {
  const [row] = await lockHealth(tx, [executorId])
  return requireCurrent(row, executorId, asked)
}

function requireCurrent(row: HealthRow | undefined, executorId: string, { epoch }: Asked) {
  if (!row) throw new AppError('not_found', `no executor ${executorId} is registered`)
  if (epoch !== undefined && (row.epoch !== epoch || row.is_deregistered)) {
    throw new AppError('stale_epoch', `epoch ${epoch} of ${executorId} is not current`)
  }
  return row
}

/** What an executor does to itself is in its history alone. */
async function auditUnlessOwn(
  tx: Queryable,
  actor: Actor,
  verb: 'drain' | 'undrain' | 'clear' | 'deregister',
  subject: string,
  { epoch, reason }: Asked,
  facts: Record<string, unknown> = {},
): Promise<void> {
  if (actor.role === 'executor') return
  const action: AuditedAction = `executor.${verb}`
  const named = epoch === undefined ? facts : { ...facts, epoch }
  await audit(tx, actor, { action, subject, reason, facts: named })
}

async function record(
  tx: Queryable,
  { executor_id, epoch }: { executor_id: string; epoch: number },
  { tokenId, role }: Actor,
  asked: Asked,
  change: { axis: 'state' | 'health' | 'drain'; was: string; became: string; reason: string },
): Promise<void> {
  const by = isItself({ role }, asked) ? 'executor' : 'operator'
  const told = asked.reason === undefined ? {} : { reason: asked.reason }
  const facts = { by, token_id: tokenId, role, ...told }
  await recordExecutorEvents(tx, [{ executor_id, epoch, ...change, facts }])
}
