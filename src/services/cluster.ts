import type { Health, LeaderAnswer, Status } from '../contract/cluster.ts'
import type { Gate } from '../leader/gate.ts'
import type { Watch } from '../leader/watch.ts'
import type { LoopState } from '../loop.ts'
import { listExecutors } from '../sql/executors.ts'
import { listTerms, observeLeader } from '../sql/leader.ts'
import type { Queryable } from '../sql/pool.ts'
import { listLiveReplicas } from '../sql/replicas.ts'
import { countQueues, listLeases } from '../sql/status.ts'

export interface ClusterOptions {
  db: Queryable
  gate: Gate
  watch: Watch
  replicaId: string
  name: string
  heartbeatMs: number
  sweeps(): LoopState[]
}

/** What operators ask of the cluster as a whole. */
export class Cluster {
  readonly #o: ClusterOptions

  constructor(options: ClusterOptions) {
    this.#o = options
  }

  /** From memory alone. */
  health(): Health {
    const { gate, watch, replicaId, name } = this.#o
    const term = gate.leading?.number ?? watch.leader?.term ?? 0
    return { controller_state: gate.state, term, replica_id: replicaId, name }
  }

  async leader(): Promise<LeaderAnswer> {
    const { db, gate } = this.#o
    const [observed, terms] = await Promise.all([observeLeader(db), listTerms(db, 20)])
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
    const { db, heartbeatMs, sweeps } = this.#o
    const [observed, terms, replicas, queues, executors, leases] = await Promise.all([
      observeLeader(db),
      listTerms(db, 1),
      listLiveReplicas(db),
      countQueues(db),
      listExecutors(db, heartbeatMs),
      listLeases(db, 100),
    ])
    return {
      replicas: replicas.map((replica) => ({
        ...replica,
        is_leader: observed.is_led && replica.replica_id === observed.replica_id,
      })),
      leader: {
        term: observed.term,
        since: terms[0]?.promoted_at ?? null,
        name: observed.is_led ? observed.name : null,
      },
      queues,
      executors,
      leases,
      sweeps: sweeps(),
      switches: {},
    }
  }
}
