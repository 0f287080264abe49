import { z } from 'zod'
import {
  Count,
  Duration,
  GivenInstant,
  Instant,
  Json,
  Labels,
  limits,
  maxTimerMs,
  Name,
  PageQuery,
  PositiveCount,
  Text,
} from './common.ts'
import { LiveTransition, Requires, Stage, StagesSubmit } from './stages.ts'

export const JobState = z
  .enum(['available', 'leased', 'waiting', 'succeeded', 'failed', 'cancelled'])
  .meta({ id: 'JobState' })
export type JobState = z.infer<typeof JobState>

/** Delay before retry n (from 0): full jitter up to min(cap_ms, base_ms × factor^n). */
export const Backoff = z.strictObject({
  base_ms: z.number().int().min(1).max(86_400_000).default(2_000),
  factor: z.number().min(1).max(10).default(2),
  cap_ms: z.number().int().min(1).max(86_400_000).default(600_000),
})

/** What to do while an executor cannot reach the control plane for `self_fence_ms`. */
export const OnSilence = z.enum(['continue', 'abort'])

/** A job's failure, as its executor or the control plane tells it. */
export const JobError = z
  .strictObject({
    code: Text(128),
    message: Text(16_384).default(''),
    retryable: z.boolean().default(true).meta({ description: 'false: no attempt is left over.' }),
  })
  .meta({ id: 'JobError' })
export type JobError = z.infer<typeof JobError>

export const IdempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, 'must be 1 to 255 printable ASCII characters without blanks')

/** W3C Trace Context, version 00: neither the trace nor the span may be all zeros. */
export const Traceparent = z
  .string()
  .regex(
    /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/,
    'must be a traceparent of W3C Trace Context, version 00',
  )

const delays = {
  run_at: GivenInstant.optional().meta({
    description: 'Not before this instant. Not with delay_ms.',
  }),
  delay_ms: Duration.optional().meta({ description: 'Not before so long from now.' }),
}

/** A job to run. Only `kind` is required. */
export const JobSubmit = z
  .strictObject({
    kind: Name,
    queue: Name.default('default'),
    payload: Json.optional().meta({
      description: 'Handed to the executor as it is; default {}; at most 256 KiB of JSON.',
    }),
    labels: Labels.default({}).meta({ description: 'For finding jobs.' }),
    priority: z.number().int().min(0).max(9).default(0).meta({
      description: 'Higher first; each step counts as ten minutes of waiting.',
    }),
    ...delays,
    max_attempts: z.number().int().min(1).max(1_000).default(5),
    backoff: Backoff.prefault({}),
    run_timeout_ms: z.number().int().min(1).max(maxTimerMs).optional().meta({
      description: 'An attempt that runs longer is stopped by its executor and fails.',
    }),
    on_silence: OnSilence.default('continue'),
    requires: Requires.default({}).meta({ description: 'Labels that an executor must have.' }),
    stages: StagesSubmit.optional().meta({
      description: 'Steps that the job goes through in order; without them it is one step.',
    }),
    idempotency_key: IdempotencyKey.optional().meta({
      description: 'Same queue and key: the same job. The header Idempotency-Key works too.',
    }),
    traceparent: Traceparent.optional().meta({
      description: 'Handed to the executor. Before the header; no part of what the key compares.',
    }),
  })
  .refine((job) => job.run_at === undefined || job.delay_ms === undefined, {
    path: ['delay_ms'],
    message: 'give run_at or delay_ms, not both',
  })
  .meta({ id: 'JobSubmit' })
export type JobSubmit = z.infer<typeof JobSubmit>
/** What a client may leave out. */
export type JobSubmitInput = z.input<typeof JobSubmit>

export const JobId = z.uuid()

const jobFields = {
  id: JobId,
  kind: z.string(),
  queue: z.string(),
  state: JobState,
  stage: z.string().nullable().meta({ description: 'Where it is, or ended; null: it has none.' }),
  move: Count.meta({ description: '+1 at each move between stages.' }),
  waiting_for: z.enum(['effect', 'decision', 'transition']).nullable().meta({
    description:
      'Why it waits. effect: one is in doubt. decision: its stage is manual. transition: somebody owns its next move.',
  }),
  scheduled: z.boolean().meta({ description: 'Available, but not before run_at.' }),
  labels: z.record(z.string(), z.string()),
  requires: z.record(z.string(), z.string()).meta({
    description: 'Labels that an executor must have; with stages: for the current one.',
  }),
  priority: Count,
  run_at: Instant,
  fence: Count,
  attempt: Count.meta({
    description: 'The live attempt, or how many were spent; each visit of a stage has its own.',
  }),
  max_attempts: Count,
  lost_leases: Count.meta({ description: 'Leases lost; never counted as attempts.' }),
  backoff: z.object({ base_ms: Count, factor: z.number(), cap_ms: Count }),
  run_timeout_ms: Count.nullable(),
  on_silence: OnSilence,
  executor_id: z.string().nullable(),
  epoch: Count.nullable(),
  lease_expires_at: Instant.nullable(),
  traceparent: z.string().nullable(),
  idempotency_key: z.string().nullable().meta({
    description:
      'As it was given; a job that was cancelled or retried is not found by it any more.',
  }),
  retry_of: JobId.nullable().meta({ description: 'The final job that this one retries.' }),
  retried_as: JobId.nullable().meta({ description: 'The job that retries this one.' }),
  created_at: Instant,
  finished_at: Instant.nullable(),
  cancel_requested_at: Instant.nullable().meta({
    description: 'Its end was asked for. A job that succeeded all the same was faster.',
  }),
  cancel_reason: z.string().nullable(),
}

/** A job in a list: without payload, result and progress. */
export const JobSummary = z
  .object({
    ...jobFields,
    error_code: z.string().nullable().meta({ description: 'Why it failed, if it has.' }),
  })
  .meta({ id: 'JobSummary' })
export type JobSummary = z.infer<typeof JobSummary>

export const Job = z
  .object({
    ...jobFields,
    payload: Json,
    result: Json.meta({ description: 'Of the attempt that succeeded; else null.' }),
    error: z
      .object({ code: z.string(), message: z.string(), retryable: z.boolean() })
      .nullable()
      .meta({ description: 'Why the latest attempt that ended did not succeed.' }),
    progress: Json.meta({
      description:
        'What its executor last told in this stage, or that of the job it retries; else null.',
    }),
    critical_until: Instant.nullable().meta({
      description: 'Its executor must not be interrupted; a cancel waits until here at the latest.',
    }),
    stages: z.array(Stage).meta({ description: 'In order; none: [].' }),
    transition: LiveTransition.nullable().meta({ description: 'Who owns the next move.' }),
  })
  .meta({ id: 'Job' })
export type Job = z.infer<typeof Job>

/** The recommendation has a header that is no traceparent ignored, not refused. */
export const TraceHeaders = z.object({
  traceparent: z.string().optional().meta({
    description: 'W3C Trace Context, for jobs without a traceparent of their own.',
  }),
})
export const SubmitHeaders = TraceHeaders.extend({
  'idempotency-key': IdempotencyKey.optional().meta({ description: 'As idempotency_key.' }),
})
export const SubmitCreated = z.object({ job: Job })
export const SubmitReplayed = z.object({ job: Job, replayed: z.literal(true) })
export type SubmitAnswer = { job: Job; replayed?: true }

const tooManyStages = `must have ${limits.batchStages} stages or fewer in all`

export const BatchSubmit = z.strictObject({
  jobs: z
    .array(JobSubmit)
    .min(1)
    .max(limits.batchJobs)
    .refine(
      (jobs) => jobs.reduce((n, { stages = [] }) => n + stages.length, 0) <= limits.batchStages,
      tooManyStages,
    ),
})
export const BatchAnswer = z.object({
  results: z.array(z.object({ id: JobId, created: z.boolean() })),
})
export type BatchAnswer = z.infer<typeof BatchAnswer>

export const JobParams = z.object({ id: Text(256).meta({ description: 'Of the job.' }) })
export const JobQuery = z.strictObject({
  wait_ms: z.coerce.number().int().min(0).max(60_000).optional().meta({
    description: 'Wait so long for the job to be final; capped like a poll.',
  }),
})
export const JobAnswer = z.object({ job: Job })
export type JobAnswer = z.infer<typeof JobAnswer>

const OneOrMore = <T extends z.ZodType>(item: T) =>
  z.preprocess((value) => (typeof value === 'string' ? [value] : value), z.array(item).max(16))

/** Labels that a job must have. */
export const LabelPairs = OneOrMore(Text(320).regex(/^[^=]{1,63}=.{0,256}$/s, 'must be name=value'))

export const JobListQuery = z.strictObject({
  queue: Name.optional(),
  state: JobState.optional(),
  kind: Name.optional(),
  label: LabelPairs.optional(),
  ...PageQuery,
})
export const JobList = z.object({
  jobs: z.array(JobSummary),
  next_cursor: z.string().nullable().meta({ description: 'null: this was the last page.' }),
})
export type JobList = z.infer<typeof JobList>

/** One lease that ended. `lost`: it was reclaimed. `undelivered`: its executor never showed it. */
export const Attempt = z
  .object({
    fence: PositiveCount,
    attempt: Count,
    stage: z.string().nullable(),
    executor_id: z.string(),
    epoch: PositiveCount,
    outcome: z.enum(['succeeded', 'failed', 'cancelled', 'released', 'lost', 'undelivered']),
    error: JobError.nullable(),
    started_at: Instant,
    ended_at: Instant,
  })
  .meta({ id: 'Attempt' })

/** A report that came too late to count, kept as evidence. */
export const LateReport = z
  .object({
    executor_id: z.string(),
    epoch: PositiveCount,
    fence: Count,
    outcome: z.string(),
    reason: z.string(),
    error: JobError.nullable().meta({ description: 'As it was reported.' }),
    received_at: Instant,
  })
  .meta({ id: 'LateReport' })

export const AttemptList = z.object({
  attempts: z.array(Attempt),
  late_reports: z.array(LateReport),
})
export type AttemptList = z.infer<typeof AttemptList>
