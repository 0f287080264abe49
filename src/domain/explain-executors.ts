import { isOpenToWork } from './executor-health.ts'
import {
  type Candidate,
  mostBefore,
  type Reason,
  type Rule,
  type Snapshot,
} from './explain-facts.ts'
import { canServe, missingLabels, servesQueue } from './matching.ts'

/** Why nobody has taken a job that can be claimed: each executor that could run it stands in one way. */
type Stand = 'free' | 'full' | 'draining' | 'faulty' | 'degraded' | 'silent'

/** How many executors are named among the facts of one reason. */
const mostNamed = 20

export const executorReasons: readonly Rule[] = [
  ...(['full', 'draining', 'faulty', 'degraded', 'silent'] as const).map(stuck),
  noExecutor,
  waitingItsTurn,
]

function standOf({ state, standing, capacity, leases }: Candidate): Stand {
  if (state !== 'healthy') return 'silent'
  if (!isOpenToWork(standing, leases > 0)) {
    if (standing.health === 'degraded' && isOpenToWork(standing, false)) return 'degraded'
    return standing.health === 'faulty' ? 'faulty' : 'draining'
  }
  return leases >= capacity ? 'full' : 'free'
}

interface Match {
  matching: Candidate[]
  /** Those of them that stand so. */
  at(stand: Stand): Candidate[]
}

function match({ job, queue }: Snapshot): Match | undefined {
  if (!queue) return undefined
  const matching = queue.candidates.filter(
    (candidate) => !candidate.standing.is_deregistered && canServe(candidate, job),
  )
  return { matching, at: (stand) => matching.filter((each) => standOf(each) === stand) }
}

const said: Record<Exclude<Stand, 'free'>, { code: Reason['code']; they: string }> = {
  full: { code: 'executors_full', they: 'full' },
  draining: { code: 'executors_draining', they: 'draining' },
  faulty: { code: 'executors_faulty', they: 'faulty until an operator clears it' },
  degraded: { code: 'executors_degraded', they: 'degraded and busy with the one job allowed' },
  silent: { code: 'executors_silent', they: 'not heard' },
}

/** Only where none is free: else it is the job's turn that counts. */
function stuck(stand: Exclude<Stand, 'free'>): Rule {
  return (snapshot) => {
    const found = match(snapshot)
    if (!found || found.at('free').length > 0) return undefined
    const these = found.at(stand)
    if (these.length === 0) return undefined
    const { code, they } = said[stand]
    const all = found.matching.length
    return {
      code,
      detail:
        all === 1
          ? `1 executor matches, and is ${they}`
          : `${all} executors match, ${these.length === all ? 'all' : these.length} ${they}`,
      facts: {
        matching: all,
        [stand]: these.length,
        executors: named(these, snapshot),
      },
    }
  }
}

/** None for who may not know of executors: the counts tell them enough. */
function named(candidates: Candidate[], { mayNameExecutors }: Snapshot) {
  if (!mayNameExecutors) return []
  return candidates
    .slice(0, mostNamed)
    .map(({ executorId, state, leases, capacity, heartbeatAt }) => {
      return { executor_id: executorId, state, leases, capacity, heartbeat_at: heartbeatAt }
    })
}

/** Nobody who is heard could run it. */
function noExecutor(snapshot: Snapshot): Reason | undefined {
  const { job, queue } = snapshot
  if (!queue) return undefined
  const heard = queue.candidates.filter(
    (each) => each.state === 'healthy' && !each.standing.is_deregistered && servesQueue(each, job),
  )
  if (heard.some((each) => canServe(each, job))) return undefined
  if (heard.length === 0) {
    return {
      code: 'no_executor_for_queue',
      detail: `no executor that serves queue ${job.queue} is online`,
      facts: { queue: job.queue, requires: job.requires },
    }
  }
  const missing = missingLabels(heard, job.requires)
  return {
    code: 'no_executor_with_labels',
    detail: `no executor with ${labelsIn(missing)} is online; ${heard.length} without serve queue ${job.queue}`,
    facts: { queue: job.queue, requires: job.requires, missing, online: heard.length },
  }
}

function labelsIn(labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}=${value}`)
  return pairs.length === 1 ? `label ${pairs[0]}` : `labels ${pairs.join(' and ')}`
}

/** Some executor has room; or its place tells how long it has to wait until one has. */
function waitingItsTurn(snapshot: Snapshot): Reason | undefined {
  const { queue } = snapshot
  const found = match(snapshot)
  if (!queue || !found) return undefined
  const free = found.at('free')
  const isWorkGoingOn = found.at('full').length + found.at('degraded').length > 0
  if (free.length === 0 && !(isWorkGoingOn && queue.before > 0)) return undefined
  const isMore = queue.before > mostBefore
  const before = Math.min(queue.before, mostBefore)
  const place = isMore ? `more than ${mostBefore} jobs` : before === 1 ? '1 job' : `${before} jobs`
  return {
    code: 'waiting_its_turn',
    detail: `${before === 0 ? 'no job' : place} of its class before it; executors with room for it: ${free.length}`,
    facts: {
      before,
      is_more: isMore,
      free: free.length,
      executors: named(free, snapshot),
    },
  }
}
