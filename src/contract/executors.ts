import { z } from 'zod'
import {
  Count,
  Duration,
  Instant,
  Json,
  Labels,
  limits,
  Name,
  PageQuery,
  PositiveCount,
  Text,
} from './common.ts'
import { JobError, JobState } from './jobs.ts'

export const ExecutorParams = z.object({
  id: Text(256).meta({ description: 'The executor_id.' }),
})

/** Announces an executor process. Each registration raises the epoch; older ones are cut off. */
export const Register = z
  .strictObject({
    executor_id: Name,
    labels: Labels.default({}),
    queues: z.array(Name).min(1).max(1_000).default(['default']),
    capacity: z.number().int().min(1).max(limits.inventory).default(1),
  })
  .meta({ id: 'Register' })
export type Register = z.infer<typeof Register>
export type RegisterInput = z.input<typeof Register>

export const Registered = z
  .object({
    executor_id: z.string(),
    epoch: PositiveCount,
    heartbeat_ms: PositiveCount,
    lease_ttl_ms: PositiveCount,
    self_fence_ms: PositiveCount,
  })
  .meta({ id: 'Registered' })
export type Registered = z.infer<typeof Registered>

/** A job as its holder names it. Ids are any text here: an unknown one is answered, not refused. */
const held = { job_id: z.string().max(64), fence: Count }

/** What the executor holds. A lease that is listed is renewed; an offer that is not goes back. */
export const Heartbeat = z
  .strictObject({
    epoch: PositiveCount,
    seq: Count.optional().meta({
      description: 'Higher with each inventory: one that was overtaken counts against nothing.',
    }),
    assignments: z
      .array(z.strictObject({ ...held, progress: Json.optional() }))
      .max(limits.inventory)
      .default([]),
  })
  .meta({ id: 'Heartbeat' })
export type Heartbeat = z.infer<typeof Heartbeat>
export type HeartbeatInput = z.input<typeof Heartbeat>

const HeldJob = z.object({ job_id: z.string(), fence: Count })
const NamedJob = HeldJob.extend({ reason: z.string() })

export const HeartbeatAnswer = z
  .object({
    term: PositiveCount,
    heartbeat_ms: PositiveCount.meta({ description: 'When to beat next.' }),
    held: z.array(HeldJob).meta({
      description:
        'Yours; their leases are renewed. What is listed and neither here nor revoked is still yours, and was not renewed this time.',
    }),
    cancel: z.array(NamedJob).meta({ description: 'Stop these and report cancelled.' }),
    revoked: z.array(NamedJob).meta({ description: 'No longer yours; stop, report nothing.' }),
    drain: z.boolean().meta({ description: 'Take no new work.' }),
    switches: z.record(z.string(), z.boolean()),
  })
  .meta({ id: 'HeartbeatAnswer' })
export type HeartbeatAnswer = z.infer<typeof HeartbeatAnswer>

export const Poll = z
  .strictObject({
    epoch: PositiveCount,
    max: z.number().int().min(1).max(limits.assignments).default(1),
    wait_ms: Duration.optional().meta({ description: 'Default 20 s, at most 25 s.' }),
    poll_id: z
      .string()
      .regex(/^[\x21-\x7e]{1,64}$/, 'must be 1 to 64 printable characters')
      .optional()
      .meta({ description: 'Sent again after a lost answer, it gets what is still held.' }),
  })
  .meta({ id: 'Poll' })
export type Poll = z.infer<typeof Poll>
export type PollInput = z.input<typeof Poll>

export const Assignment = z
  .object({
    job_id: z.uuid(),
    fence: PositiveCount,
    attempt: PositiveCount,
    queue: z.string(),
    kind: z.string(),
    stage: z.string().nullable().meta({ description: 'null: the job has none.' }),
    payload: Json,
    results: z.record(z.string(), Json).meta({
      description: 'What the stages before this one came to, by name; at most 1 MiB of JSON.',
    }),
    checkpoint: Json.meta({ description: 'Progress of an earlier attempt at it; else null.' }),
    lease_ttl_ms: PositiveCount,
    run_timeout_ms: PositiveCount.nullable(),
    on_silence: z.enum(['continue', 'abort']),
    traceparent: z.string().nullable().meta({ description: 'As it was submitted; else null.' }),
  })
  .meta({ id: 'Assignment' })
export type Assignment = z.infer<typeof Assignment>

export const PollAnswer = z.object({ assignments: z.array(Assignment) })
export type PollAnswer = z.infer<typeof PollAnswer>

export const ReportOutcome = z.enum(['succeeded', 'failed', 'cancelled', 'released'])
export type ReportOutcome = z.infer<typeof ReportOutcome>

export const ReportItem = z
  .strictObject({
    ...held,
    outcome: ReportOutcome.meta({ description: 'released: give back; spends nothing.' }),
    result: Json.optional().meta({ description: 'At most 256 KiB of JSON.' }),
    error: JobError.optional(),
  })
  .refine((item) => item.error === undefined || item.outcome !== 'succeeded', {
    path: ['error'],
    message: 'a job that succeeded has no error',
  })

export const Report = z
  .strictObject({
    epoch: PositiveCount,
    reports: z.array(ReportItem).min(1).max(limits.reports),
  })
  .meta({ id: 'Report' })
export type Report = z.infer<typeof Report>
export type ReportItem = Report['reports'][number]
export type ReportInput = z.input<typeof Report>

export const RejectReason = z.enum(['not_found', 'stale_epoch', 'already_final', 'stale_fence'])
export type RejectReason = z.infer<typeof RejectReason>

export const ReportAnswer = z
  .object({
    results: z.array(
      z.object({
        job_id: z.string(),
        status: z.enum(['accepted', 'duplicate', 'rejected']),
        reason: RejectReason.optional(),
        job_state: JobState.nullable().meta({ description: 'After this call; null: no such job.' }),
      }),
    ),
  })
  .meta({ id: 'ReportAnswer' })
export type ReportAnswer = z.infer<typeof ReportAnswer>
export type ReportResult = ReportAnswer['results'][number]

/** Takes no new work, or takes it again. */
export const Drain = z
  .strictObject({
    epoch: PositiveCount.optional().meta({
      description:
        'Given: this process drains, and no later one. An executor’s token must give it. Not given: the executor drains, whichever process it is, until an operator ends that.',
    }),
    enabled: z.boolean().optional().meta({
      description: 'Default true. false with an epoch: ends its own drain; without: any.',
    }),
    reason: Text(1_000).optional().meta({ description: 'Kept in its history and in the audit.' }),
  })
  .meta({ id: 'Drain' })
export type Drain = z.infer<typeof Drain>

export const Clear = z
  .strictObject({
    reason: Text(1_000).optional().meta({ description: 'Kept in its history and in the audit.' }),
  })
  .meta({ id: 'Clear' })
export type Clear = z.infer<typeof Clear>

/** The process is gone, or is to be taken for gone. */
export const Deregister = z
  .strictObject({
    epoch: PositiveCount.optional().meta({
      description:
        'Given: this process says that it goes; what it holds is given back. An executor’s token must give it. Not given: whichever process it is is cut off; what it holds is lost.',
    }),
    reason: Text(1_000).optional().meta({ description: 'Kept in its history and in the audit.' }),
  })
  .meta({ id: 'Deregister' })
export type Deregister = z.infer<typeof Deregister>

export const Deregistered = z
  .object({
    executor_id: z.string(),
    epoch: PositiveCount.meta({ description: 'Of the process that is gone.' }),
  })
  .meta({ id: 'Deregistered' })
export type Deregistered = z.infer<typeof Deregistered>

export const Executor = z
  .object({
    executor_id: z.string(),
    epoch: PositiveCount,
    labels: z.record(z.string(), z.string()),
    queues: z.array(z.string()),
    capacity: Count,
    leases: Count,
    state: z.enum(['healthy', 'suspect', 'lost', 'deregistered']).meta({
      description: 'By heartbeats. suspect: none for three intervals; lost: none for a lease TTL.',
    }),
    health: z.enum(['healthy', 'degraded', 'faulty']).meta({
      description:
        'By reports. degraded, after 3 failures in a row: one job at a time; healthy again after 5 successes. faulty, after 10 failures meanwhile: none until it is cleared.',
    }),
    failures: Count.meta({ description: 'healthy: in a row. Otherwise: while degraded.' }),
    successes: Count.meta({ description: 'While degraded.' }),
    draining: z.boolean().meta({ description: 'It is given no new work.' }),
    drained_by: z.enum(['operator', 'executor']).nullable().meta({
      description: 'operator: until an operator ends it; executor: until its process ends.',
    }),
    registered_at: Instant,
    heartbeat_at: Instant,
  })
  .meta({ id: 'Executor' })
export type Executor = z.infer<typeof Executor>

export const ExecutorList = z.object({ executors: z.array(Executor) })
export type ExecutorList = z.infer<typeof ExecutorList>

export const ExecutorChange = z
  .object({
    id: PositiveCount,
    at: Instant,
    epoch: PositiveCount,
    axis: z.enum(['state', 'health', 'drain']),
    from: z.string(),
    to: z.string(),
    reason: z.string().meta({
      description:
        'silent, heard, registered, deregistered; failures, successes, cleared; drained, undrained.',
    }),
    facts: z.record(z.string(), Json),
  })
  .meta({ id: 'ExecutorChange' })
export type ExecutorChange = z.infer<typeof ExecutorChange>

export const HistoryQuery = z.strictObject({
  ...PageQuery,
  cursor: z.coerce
    .number()
    .pipe(PositiveCount)
    .optional()
    .meta({ description: '`next_cursor` of the page before.' }),
})
export type HistoryQuery = z.infer<typeof HistoryQuery>

export const ExecutorHistory = z
  .object({ changes: z.array(ExecutorChange), next_cursor: Count.nullable() })
  .meta({ id: 'ExecutorHistory' })
export type ExecutorHistory = z.infer<typeof ExecutorHistory>
