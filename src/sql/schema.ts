/** The tables, generated from migrations/ by `npm run schema`. Do not edit. */
import type { ColumnType } from 'kysely'

export type Generated<T> =
  T extends ColumnType<infer S, infer I, infer U>
    ? ColumnType<S, I | undefined, U>
    : ColumnType<T, T | undefined, T>

export interface Attempts {
  attempt: number
  ended_at: string
  epoch: number
  error: ColumnType<Failure | null, string | null, string | null>
  executor_id: string
  fence: number
  job_id: string
  outcome: 'succeeded' | 'failed' | 'cancelled' | 'released' | 'lost' | 'undelivered'
  result: ColumnType<unknown, string, string> | null
  stage: string | null
  started_at: string
}

export interface Audit {
  action: string
  at: Generated<string>
  facts: Generated<ColumnType<unknown, string, string>>
  id: Generated<number>
  reason: string | null
  request_id: string
  role: string
  subject: string
  token_id: string
}

export interface Classes {
  class_id: Generated<number>
  kind: string
  queue: string
  requires: ColumnType<Record<string, string>, string, string>
}

export interface Effects {
  begin_id: string
  begun_at: Generated<string>
  doubt_begin_id: string | null
  doubt_fence: number | null
  effect_token: Generated<string>
  epoch: number
  executor_id: string
  fence: number
  holds: Generated<boolean>
  job_id: string
  key: string
  on_doubt: 'retry' | 'reconcile' | 'hold'
  result: ColumnType<unknown, string, string> | null
  settled_at: string | null
  settled_begin_id: string | null
  settled_fence: number | null
  state: 'begun' | 'committed' | 'aborted' | 'in_doubt'
}

export interface ExecutorEvents {
  at: Generated<string>
  axis: 'state' | 'health' | 'drain'
  became: string
  epoch: number
  executor_id: string
  facts: Generated<ColumnType<unknown, string, string>>
  id: Generated<number>
  reason: string
  was: string
}

export interface Executors {
  capacity: number
  changes: Generated<number>
  deregistered_epoch: number | null
  drained: Generated<boolean>
  drained_epoch: number | null
  epoch: number
  executor_id: string
  failures: Generated<number>
  health: Generated<'healthy' | 'degraded' | 'faulty'>
  heartbeat_at: string
  labels: ColumnType<Record<string, string>, string, string>
  queues: string[]
  registered_at: string
  state: Generated<'healthy' | 'suspect' | 'lost' | 'deregistered'>
  successes: Generated<number>
}

export interface Jobs {
  attempt: Generated<number>
  backoff_base_ms: number
  backoff_cap_ms: number
  backoff_factor: number
  body_hash: Buffer | null
  cancel_reason: string | null
  cancel_requested_at: string | null
  cancel_told_at: string | null
  claim_at: string
  class_id: number
  created_at: Generated<string>
  critical_ceiling_ms: number | null
  critical_entered_at: string | null
  critical_fence: number | null
  epoch: number | null
  executor_id: string | null
  fence: Generated<number>
  finished_at: string | null
  former_key: string | null
  id: string
  idempotency_key: string | null
  kind: string
  labels: ColumnType<Record<string, string>, string, string>
  lease_expires_at: string | null
  leased_at: string | null
  lost_leases: Generated<number>
  max_attempts: number
  move: Generated<number>
  offered: Generated<boolean>
  on_silence: 'continue' | 'abort'
  payload: ColumnType<unknown, string, string>
  payload_bytes: number
  poll_id: string | null
  priority: number
  queue: string
  results_bytes: Generated<number>
  retried_as: string | null
  retry_of: string | null
  run_at: string
  run_timeout_ms: number | null
  scheduled: boolean
  stage: string | null
  stage_fence: Generated<number>
  state: Generated<'available' | 'leased' | 'waiting' | 'succeeded' | 'failed' | 'cancelled'>
  traceparent: string | null
  waiting_for: 'effect' | 'decision' | 'transition' | null
}

export interface LateEffects {
  begin_id: string
  epoch: number
  executor_id: string
  fence: number
  job_id: string
  key: string
  outcome: 'committed' | 'aborted'
  received_at: Generated<string>
  result: ColumnType<unknown, string, string> | null
}

export interface LateReports {
  epoch: number
  error: ColumnType<Failure | null, string | null, string | null>
  executor_id: string
  fence: number
  job_id: string
  outcome: string
  reason: string
  received_at: Generated<string>
  result: ColumnType<unknown, string, string> | null
}

export interface Leader {
  active_lock_id: number | null
  only_row: Generated<boolean>
  promoted_at: string | null
  replica_id: string | null
  system_identifier: string | null
  term: number
  timeline: number | null
}

export interface LockFloor {
  fence: number
  only_row: Generated<boolean>
}

export interface Locks {
  acquired_at: string
  boot_id: string | null
  ends_at: string
  expires_at: string
  fence: number
  holders: string[]
  job_id: string | null
  metadata: ColumnType<unknown, string, string>
  name: string
  owner: string
  released_at: string | null
  renewed_at: string
  token_id: string
  ttl_ms: number
}

export interface Migrations {
  applied_at: Generated<string>
  breaking: boolean
  checksum: string
  name: string
  version: number
}

export interface Moves {
  at: Generated<string>
  body_hash: Buffer | null
  by: 'report' | 'transition' | 'commit'
  fence: number | null
  from_stage: string
  idempotency_key: string | null
  job_id: string
  move: number
  reason: string | null
  to_stage: string
  token_id: string | null
}

export interface Progress {
  fence: number
  job_id: string
  progress: ColumnType<unknown, string, string>
  updated_at: string
}

export interface Replicas {
  active_lock_id: number
  advertised_url: string
  gone_at: string | null
  name: string
  number: Generated<number>
  replica_id: string
  role: 'all' | 'api'
  started_at: Generated<string>
  version: string
}

export interface Stages {
  class_id: number | null
  done_at: string | null
  job_id: string
  name: string
  position: number
  result: ColumnType<unknown, string, string> | null
}

export interface Terms {
  active_lock_id: number
  deadline_floor_at: string | null
  end_reason: string | null
  ended_at: string | null
  promoted_at: string
  recovery: Generated<ColumnType<PhaseDone[], string, string>>
  replica_id: string
  served_at: string | null
  system_identifier: string
  term: number
  ticked_at: string
  timeline: number
}

export interface Tokens {
  created_at: Generated<string>
  executor_id: string | null
  expires_at: string | null
  id: string
  name: string
  queues: string[] | null
  revoked_at: string | null
  role: 'executor' | 'submit' | 'read' | 'operator' | 'admin'
  secret_hash: Buffer
}

export interface Transitions {
  begun_at: Generated<string>
  boot_id: string
  committed_move: number | null
  ended_at: string | null
  expires_at: string
  job_id: string
  move: number
  outcome: 'committed' | 'abandoned' | 'taken_over' | 'forced' | 'expired' | null
  owner: string
  stage: string
  token: Generated<string>
  token_id: string
}

export interface Database {
  attempts: Attempts
  audit: Audit
  classes: Classes
  effects: Effects
  executor_events: ExecutorEvents
  executors: Executors
  jobs: Jobs
  late_effects: LateEffects
  late_reports: LateReports
  leader: Leader
  lock_floor: LockFloor
  locks: Locks
  migrations: Migrations
  moves: Moves
  progress: Progress
  replicas: Replicas
  stages: Stages
  terms: Terms
  tokens: Tokens
  transitions: Transitions
}

export interface Failure {
  code: string
  message: string
  retryable: boolean
}
export interface PhaseDone {
  phase: string
  ms: number
  counts: Record<string, number>
}
