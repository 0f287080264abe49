import { z } from 'zod'
import { Count, Duration, Instant, Json, limits, Name, PositiveCount, Text } from './common.ts'

/** Named locks, for actors outside: deploy scripts, cron jobs, daemons. Fenced, and apart from jobs' leases. */

/** Whoever stands behind a lock, across its restarts. */
export const LockOwner = z
  .string()
  .regex(/^[\x21-\x7e]{1,128}$/, 'must be 1 to 128 printable ASCII characters without blanks')

/** One process of an owner. Nobody else is told it: it is what a holder is known by. */
export const BootId = z
  .string()
  .regex(/^[\x21-\x7e]{1,128}$/, 'must be 1 to 128 printable ASCII characters without blanks')

export const LockParams = z.object({ name: Name.meta({ description: 'Of the lock.' }) })

const byProcess = {
  owner: LockOwner.meta({
    description:
      'Who has it, across restarts. A new boot_id of the same owner, with the same token, takes over at once: never give two programs one owner.',
  }),
  boot_id: BootId.meta({
    description: 'Which process of the owner: a random value of each start. It is told to nobody.',
  }),
}

/** Asks for the lock. Sent again by the same process while it holds it: the same fence, renewed. */
export const LockAcquire = z
  .strictObject({
    ...byProcess,
    ttl_ms: z.number().int().min(1_000).max(86_400_000).meta({
      description:
        'After so long without a renewal the lock is over. Others may have it sooner, from expires_at on: after 15 s, or this if it is less.',
    }),
    wait_ms: Duration.optional().meta({
      description: 'Wait so long for it to be free; at most 25 s. Default 0.',
    }),
    job_id: Text(256).optional().meta({ description: 'The lock ends with this job.' }),
    metadata: Json.optional().meta({
      description: `For people and programs that look at the lock: at most ${limits.lockMetadataBytes} bytes of JSON. Default {}.`,
    }),
  })
  .meta({ id: 'LockAcquire' })
export type LockAcquire = z.infer<typeof LockAcquire>

/** Proves that the caller is the holder. */
export const LockHolder = z
  .strictObject({ ...byProcess, fence: PositiveCount })
  .meta({ id: 'LockHolder' })
export type LockHolder = z.infer<typeof LockHolder>

export const LockHolding = z
  .object({
    name: z.string(),
    fence: PositiveCount.meta({
      description: 'Greater than that of every holder before: give it to what the lock protects.',
    }),
    expires_at: Instant.meta({
      description: 'From then on another may have it, unless it is renewed: stop by then.',
    }),
    ends_at: Instant.meta({
      description: 'Until then a late renewal saves it, if nobody has taken it meanwhile.',
    }),
    renew_ms: PositiveCount.meta({ description: 'Renew as often.' }),
    valid_ms: PositiveCount.meta({
      description:
        'expires_at for one’s own monotonic clock: so long from when this request was SENT.',
    }),
  })
  .meta({ id: 'LockHolding' })
export type LockHolding = z.infer<typeof LockHolding>

export const LockReleased = z.object({
  name: z.string(),
  fence: PositiveCount,
  released_at: Instant,
})
export type LockReleased = z.infer<typeof LockReleased>

/** An operator takes it away, whoever has it. */
export const LockForceRelease = z
  .strictObject({
    note: Text(2_000).min(1).meta({ description: 'Why; kept in the audit.' }),
    fence: PositiveCount.optional().meta({
      description:
        'Only from the holder with this fence; else 409 stale_fence. Sent again, or late, it then hits no successor.',
    }),
  })
  .meta({ id: 'LockForceRelease' })
export type LockForceRelease = z.infer<typeof LockForceRelease>

export const LockState = z.enum(['held', 'stale', 'free']).meta({
  id: 'LockState',
  description:
    'held: nobody else may have it. stale: not renewed in time; whoever asks next gets it. free: released, or over.',
})
export type LockState = z.infer<typeof LockState>

export const Lock = z
  .object({
    name: z.string(),
    state: LockState,
    fence: PositiveCount,
    owner: z.string().meta({ description: 'Who has it, or had it last.' }),
    token_id: z.string().meta({ description: 'With which token.' }),
    job_id: z.uuid().nullable(),
    metadata: Json,
    ttl_ms: PositiveCount,
    acquired_at: Instant,
    renewed_at: Instant,
    expires_at: Instant,
    ends_at: Instant,
    released_at: Instant.nullable(),
  })
  .meta({ id: 'Lock' })
export type Lock = z.infer<typeof Lock>

export const LockAnswer = z.object({ lock: Lock })
export type LockAnswer = z.infer<typeof LockAnswer>

export const LockListQuery = z.strictObject({
  state: LockState.optional().meta({ description: 'Default: those held and those stale.' }),
  cursor: Name.optional().meta({ description: '`next_cursor` of the page before.' }),
  limit: z.coerce.number().int().min(1).max(500).default(50),
})
export type LockListQuery = z.infer<typeof LockListQuery>

export const LockList = z.object({
  locks: z.array(Lock).meta({ description: 'By name.' }),
  next_cursor: z.string().nullable().meta({ description: 'null: this was the last page.' }),
})
export type LockList = z.infer<typeof LockList>

/** What `GET /v1/status` tells of them. */
export const lockStatus = {
  locks_held: Count.meta({ description: 'Named locks that somebody has now.' }),
  locks: z.array(Lock).meta({ description: 'The 100 of those that expire first.' }),
}
