import { z } from 'zod'
import { Instant, Json, limits, PositiveCount, Text } from './common.ts'

/** The ledger of irreversible acts: a deploy, a payment, a mail. A job does each at most once, whoever runs it
 *  (DESIGN 6). */

/** Which act, in the words of the job: 1 to 255 printable ASCII characters without blanks. In a URL's path it is
 *  percent-encoded. */
export const EffectKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, 'must be 1 to 255 printable ASCII characters without blanks')

/** One begin: sent again after a lost answer, it gets the same answer. 1 to 64 printable characters. */
export const BeginId = z
  .string()
  .regex(/^[\x21-\x7e]{1,64}$/, 'must be 1 to 64 printable ASCII characters without blanks')

/** What to do with an act that may have been done by an attempt that was lost. */
export const OnDoubt = z.enum(['retry', 'reconcile', 'hold']).meta({
  id: 'OnDoubt',
  description:
    'retry: it is safe to repeat; the next begin is told to proceed. reconcile: the next begin is told in_doubt, finds out, and commits or aborts. hold: the job waits for an operator. The first begin decides.',
})
export type OnDoubt = z.infer<typeof OnDoubt>

export const EffectParams = z.object({
  id: Text(256).meta({ description: 'Of the job.' }),
  key: EffectKey.meta({ description: 'Which act, percent-encoded.' }),
})

/** Whoever holds the job, as its assignment and registration say. */
export const LeaseOwner = { executor_id: Text(256), epoch: PositiveCount, fence: PositiveCount }

/** Asks whether to do it. */
export const EffectBegin = z
  .strictObject({ ...LeaseOwner, begin_id: BeginId, on_doubt: OnDoubt.default('hold') })
  .meta({ id: 'EffectBegin' })
export type EffectBegin = z.infer<typeof EffectBegin>

export const EffectBegun = z
  .object({
    outcome: z.enum(['proceed', 'committed', 'in_doubt']).meta({
      description:
        'proceed: do it, then commit. committed: it was done; do not do it. in_doubt: it may have been done; with on_doubt reconcile find out, then commit or abort; with hold the job is no longer yours.',
    }),
    effect_token: z.uuid().meta({
      description: 'Stable for this job and key: the idempotency key for the outside system.',
    }),
    on_doubt: OnDoubt.meta({ description: 'As the first begin fixed it.' }),
    result: Json.meta({ description: 'With committed: what was recorded; else null.' }),
  })
  .meta({ id: 'EffectBegun' })
export type EffectBegun = z.infer<typeof EffectBegun>

/** It was done. */
export const EffectCommit = z
  .strictObject({
    ...LeaseOwner,
    begin_id: BeginId,
    result: Json.optional().meta({ description: 'For later attempts; at most 256 KiB of JSON.' }),
  })
  .meta({ id: 'EffectCommit' })
export type EffectCommit = z.infer<typeof EffectCommit>

/** It was not done, for certain. */
export const EffectAbort = z
  .strictObject({ ...LeaseOwner, begin_id: BeginId })
  .meta({ id: 'EffectAbort' })
export type EffectAbort = z.infer<typeof EffectAbort>

/** An operator has found out. */
export const EffectResolve = z
  .strictObject({
    outcome: z.enum(['committed', 'aborted']).meta({
      description: 'committed: it was done, and is not done again. aborted: it was not.',
    }),
    result: Json.optional().meta({ description: 'With committed: what a later attempt is told.' }),
    note: Text(2_000).min(1).meta({ description: 'How it is known; kept in the audit.' }),
  })
  .refine(({ outcome, result }) => outcome === 'committed' || result === undefined, {
    path: ['result'],
    message: 'what was not done has no result',
  })
  .meta({ id: 'EffectResolve' })
export type EffectResolve = z.infer<typeof EffectResolve>

export const Effect = z
  .object({
    key: z.string(),
    state: z.enum(['begun', 'committed', 'aborted', 'in_doubt']),
    on_doubt: OnDoubt,
    effect_token: z.uuid(),
    result: Json,
    holds: z.boolean().meta({ description: 'The job waits until this is resolved.' }),
    begin_id: z.string(),
    fence: PositiveCount,
    executor_id: z.string().meta({ description: 'Who began it last.' }),
    epoch: PositiveCount,
    begun_at: Instant,
    settled_at: Instant.nullable(),
  })
  .meta({ id: 'Effect' })
export type Effect = z.infer<typeof Effect>

export const EffectAnswer = z.object({ effect: Effect })
export type EffectAnswer = z.infer<typeof EffectAnswer>

/** What an executor said of an effect after it had lost the job. It counts for nothing. */
export const LateEffect = z
  .object({
    key: z.string(),
    begin_id: z.string(),
    executor_id: z.string(),
    epoch: PositiveCount,
    fence: PositiveCount,
    outcome: z.enum(['committed', 'aborted']),
    result: Json,
    received_at: Instant,
  })
  .meta({ id: 'LateEffect' })
export type LateEffect = z.infer<typeof LateEffect>

export const EffectListQuery = z.strictObject({
  cursor: EffectKey.optional().meta({ description: '`next_cursor` of the page before.' }),
  limit: z.coerce.number().int().min(1).max(limits.effects).default(100),
})
export type EffectListQuery = z.infer<typeof EffectListQuery>

export const EffectList = z.object({
  effects: z.array(Effect).meta({ description: 'By key; fewer than asked for if they are large.' }),
  late_effects: z.array(LateEffect).meta({ description: 'Of these effects; evidence.' }),
  next_cursor: z.string().nullable().meta({ description: 'null: this was the last page.' }),
})
export type EffectList = z.infer<typeof EffectList>
