import type { AuditLog } from '../services/audit.ts'
import type { Bulk } from '../services/bulk.ts'
import type { Cancels } from '../services/cancels.ts'
import type { Cluster } from '../services/cluster.ts'
import type { Effects } from '../services/effects.ts'
import type { ExecutorDirectory } from '../services/executor-directory.ts'
import type { ExecutorHealth } from '../services/executor-health.ts'
import type { Executors } from '../services/executors.ts'
import type { Explanations } from '../services/explain.ts'
import type { Heartbeats } from '../services/heartbeats.ts'
import type { InFlight } from '../services/in-flight.ts'
import type { Jobs } from '../services/jobs.ts'
import type { Locks } from '../services/locks.ts'
import type { Polls } from '../services/polls.ts'
import type { Reports } from '../services/reports.ts'
import type { Retries } from '../services/retries.ts'
import type { Stalls } from '../services/stalls.ts'
import type { Tokens } from '../services/tokens.ts'
import type { Transitions } from '../services/transitions.ts'

/** What the routes call: one service per noun. */
export interface Services {
  auditLog: AuditLog
  bulk: Bulk
  cancels: Cancels
  cluster: Cluster
  directory: ExecutorDirectory
  effects: Effects
  executors: Executors
  executorHealth: ExecutorHealth
  executorCalls: InFlight
  explanations: Explanations
  heartbeats: Heartbeats
  jobs: Jobs
  locks: Locks
  polls: Polls
  reports: Reports
  retries: Retries
  stalls: Stalls
  tokens: Tokens
  transitions: Transitions
}
