import type {
  Health,
  LeaderAnswer,
  LeaderQuery,
  Status,
  StepDown,
  SteppedDown,
} from '../contract/cluster.ts'
import { AppError } from '../errors.ts'
import type { Gate } from '../leader/gate.ts'
import type { Term } from '../leader/term.ts'
import type { Watch } from '../leader/watch.ts'
import type { LoopState } from '../loop.ts'
import type { Doors } from '../sql/doors.ts'
import { listExecutors } from '../sql/executors.ts'
import { listTerms, observeLeader } from '../sql/leader.ts'
import { lookAtHeldLocks } from '../sql/locks.ts'
import type { Queryable } from '../sql/pool.ts'
import { listLiveReplicas } from '../sql/replicas.ts'
import { countQueues, listLeases } from '../sql/status.ts'
import { type Actor, audit } from './audit.ts'

export interface ClusterOptions {
  db: Queryable
  doors: Doors
  gate: Gate
  watch: Watch
  replicaId: string
  name: string
  sweeps(): LoopState[]
  reaper(): Status['reaper']
  /** Gives the term up, and resolves when it is over. */
  handOver(term: Term): Promise<void>
}

/** What operators ask of the cluster as a whole. */
export class Cluster {
  readonly #o: ClusterOptions

  constructor(options: ClusterOptions) {
    this.#o = options
  }

  /** Ends the term that leads. The audit comes first: what cannot be told is not done. */
  async stepDown(actor: Actor, { term: expected, reason }: StepDown): Promise<SteppedDown> {
    const { gate, doors, handOver } = this.#o
    const term = gate.leading
    if (!term) throw new AppError('controller_standby', 'this replica does not lead')
    if (expected !== undefined && expected !== term.number) {
      throw new AppError('stale_term', `term ${term.number} leads, not ${expected}`)
    }
    const subject = String(term.number)
    await doors.asClient((tx) => audit(tx, actor, { action: 'leader.step_down', subject, reason }))
    await handOver(term)
    return { term: term.number }
  }

  /** From memory alone. */
  health(): Health {
    const { gate, watch, replicaId, name } = this.#o
    const term = gate.leading?.number ?? watch.leader?.term ?? 0
    return { controller_state: gate.state, term, replica_id: replicaId, name }
  }

  async leader({ limit }: LeaderQuery): Promise<LeaderAnswer> {
    const { db, gate } = this.#o
    const [observed, terms] = await Promise.all([observeLeader(db), listTerms(db, limit)])
    const latest = terms[0]?.term === observed.term ? terms[0] : undefined
    return {
      role: gate.state,
      term: observed.term,
      since: latest?.promoted_at ?? null,
      leader:
        observed.is_led && observed.replica_id !== null
          ? {
              replica_id: observed.replica_id,
              name: observed.name ?? '',
              advertised_url: observed.advertised_url,
            }
          : null,
      recovery: latest?.recovery ?? [],
      terms: terms.map((term) => ({
        term: term.term,
        replica_id: term.replica_id,
        name: term.name,
        since: term.promoted_at,
        until: term.ended_at,
        end_reason: term.end_reason,
        recovery: term.recovery,
      })),
    }
  }

  async status(): Promise<Status> {
    const { db, sweeps, reaper } = this.#o
    const [observed, [latest, before], replicas, queues, executors, leases, locks] =
      await Promise.all([
        observeLeader(db),
        listTerms(db, 2),
        listLiveReplicas(db),
        countQueues(db),
        listExecutors(db),
        listLeases(db, 100),
        lookAtHeldLocks(db, 100),
      ])
    return {
      replicas: replicas.map(({ active_lock_id: _lockId, ...replica }) => ({
        ...replica,
        is_leader: observed.is_led && replica.replica_id === observed.replica_id,
      })),
      leader: {
        term: observed.term,
        since: latest?.promoted_at ?? null,
        name: observed.is_led ? observed.name : null,
        recovery_ms: latest ? totalMs(latest.recovery) : null,
        end_reason_before: before?.end_reason ?? null,
      },
      queues,
      executors,
      leases,
      locks_held: locks.held,
      locks: locks.first,
      sweeps: sweeps(),
      reaper: reaper(),
      switches: {},
    }
  }
}

/** A recovery has phases once it is over. */
function totalMs(phases: LeaderAnswer['recovery']): number | null {
  return phases.length === 0 ? null : phases.reduce((total, { ms }) => total + ms, 0)
}
