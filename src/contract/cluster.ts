import { z } from 'zod'
import { Count, Instant, PositiveCount, Text } from './common.ts'
import { Executor } from './executors.ts'
import { lockStatus } from './locks.ts'

export const ControllerState = z
  .enum(['standby', 'recovering', 'active', 'draining'])
  .meta({ id: 'ControllerState' })

export const Health = z
  .object({
    controller_state: ControllerState,
    term: Count.meta({ description: 'The latest term that this replica knows of.' }),
    replica_id: z.string(),
    name: z.string(),
  })
  .meta({ id: 'Health' })
export type Health = z.infer<typeof Health>

const Phase = z.object({ phase: z.string(), ms: Count, counts: z.record(z.string(), Count) })

const Leading = z.object({
  replica_id: z.string(),
  name: z.string(),
  advertised_url: z.string().nullable(),
})

export const LeaderQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1_000).default(20).meta({
    description: 'Most terms to list, newest first.',
  }),
})
export type LeaderQuery = z.infer<typeof LeaderQuery>

export const LeaderAnswer = z
  .object({
    role: ControllerState.meta({ description: 'Of the replica that answers.' }),
    term: Count,
    since: Instant.nullable(),
    leader: Leading.nullable().meta({ description: 'null: the latest term has ended.' }),
    recovery: z.array(Phase).meta({ description: 'Phases of the latest term, in order.' }),
    terms: z.array(
      z.object({
        term: Count,
        replica_id: z.string(),
        name: z.string(),
        since: Instant,
        until: Instant.nullable(),
        end_reason: z.string().nullable(),
        recovery: z.array(Phase),
      }),
    ),
  })
  .meta({ id: 'Leader' })
export type LeaderAnswer = z.infer<typeof LeaderAnswer>

export const StepDown = z
  .strictObject({
    term: PositiveCount.optional().meta({
      description: 'Only if this is the term that leads; else 409 stale_term.',
    }),
    reason: Text(1_000).optional().meta({ description: 'Kept in the audit.' }),
  })
  .meta({ id: 'StepDown' })
export type StepDown = z.infer<typeof StepDown>

export const SteppedDown = z.object({
  term: Count.meta({ description: 'The term that ended.' }),
})
export type SteppedDown = z.infer<typeof SteppedDown>

/** What was taken from executors since the term began. */
export const Reaper = z
  .object({
    tiers: z.record(z.string(), Count).meta({
      description:
        'Leases that did not end by a report, by who found that they were over; transition_expired: moves that were owned beyond their ceiling, and ended by the sweep.',
    }),
    deferrals: z.record(z.string(), Count).meta({
      description: 'How often the deadlines of all leases were moved, by why.',
    }),
    stale: Count.meta({ description: 'Of the leases: their executors were not heard any more.' }),
    forced: Count.meta({ description: 'Of the leases: taken from executors that were heard.' }),
  })
  .meta({ id: 'Reaper' })
export type Reaper = z.infer<typeof Reaper>

export const Status = z
  .object({
    replicas: z.array(
      z.object({
        replica_id: z.string(),
        name: z.string(),
        advertised_url: z.string(),
        role: z.enum(['all', 'api']),
        version: z.string(),
        started_at: Instant,
        is_leader: z.boolean(),
      }),
    ),
    leader: z.object({
      term: Count,
      since: Instant.nullable(),
      name: z.string().nullable(),
      recovery_ms: Count.nullable().meta({ description: 'null: it has not recovered yet.' }),
      end_reason_before: z.string().nullable().meta({
        description: 'Why the term before ended; null: there was none, or nobody knows yet.',
      }),
    }),
    queues: z.array(
      z.object({
        queue: z.string(),
        available: Count,
        scheduled: Count,
        leased: Count,
        failed: Count,
        oldest_available_at: Instant.nullable(),
      }),
    ),
    executors: z.array(Executor),
    leases: z
      .array(
        z.object({
          job_id: z.string(),
          queue: z.string(),
          kind: z.string(),
          executor_id: z.string(),
          fence: Count,
          attempt: Count,
          leased_at: Instant,
          heartbeat_at: Instant,
          lease_expires_at: Instant,
        }),
      )
      .meta({ description: 'The 100 that expire first.' }),
    ...lockStatus,
    sweeps: z
      .array(
        z.object({
          name: z.string(),
          runs: Count,
          failures: Count,
          last_counts: z.record(z.string(), Count),
          last_error: z.string().nullable(),
        }),
      )
      .meta({ description: 'Of the replica that answers; empty unless it is active.' }),
    reaper: Reaper.nullable().meta({
      description: 'null: the replica that answers does not lead.',
    }),
    switches: z.record(z.string(), z.boolean()),
  })
  .meta({ id: 'Status' })
export type Status = z.infer<typeof Status>
