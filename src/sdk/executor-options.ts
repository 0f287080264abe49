import type { Assignment, ReportItem, ReportResult } from '../contract/executors.ts'
import type { JobHandler, StopReason } from './job-context.ts'

export interface ExecutorOptions {
  /** Every replica, or the balancer in front of them. */
  urls: string[]
  token: string
  /** Stable across restarts of one place: a new process takes over from the one before. */
  executorId: string
  /** Default: ['default']. */
  queues?: string[]
  labels?: Record<string, string>
  /** Most jobs at a time. Default 1. */
  capacity?: number
  handler: JobHandler
  /** Told of everything worth a log line. */
  onEvent?(event: ExecutorEvent): void
}

export type CallName = 'register' | 'poll' | 'heartbeat' | 'report'

export type ExecutorEvent =
  | { type: 'registered'; epoch: number }
  | { type: 'served'; call: CallName }
  /** The control plane says whether to take new work. */
  | { type: 'told_to_drain'; drain: boolean }
  | { type: 'draining'; held: number }
  | { type: 'started'; job: Assignment }
  | { type: 'told_to_stop'; jobId: string; reason: StopReason }
  | { type: 'reported'; item: ReportItem; result: ReportResult }
  | { type: 'trouble'; call: CallName; error: Error }
