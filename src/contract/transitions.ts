import { z } from 'zod'
import { Count, Instant, Name, PositiveCount, Text } from './common.ts'
import { IdempotencyKey, Job } from './jobs.ts'

/** Moves between the stages of a job that outside actors make (DESIGN 6). */

/** The longest that a transition may be owned: 20 min. */
const maxCeilingMs = 20 * 60_000

const to = Name.meta({
  description:
    'Another stage, earlier or later; succeeded, from the last one; failed, from a manual one.',
})
const reason = Text(2_000).optional().meta({ description: 'Kept with the move and in the audit.' })
const expected = {
  expected_stage: Name.meta({ description: 'Where the job is; else 409 stage_mismatch.' }),
  expected_move: Count.optional().meta({
    description: 'The job’s `move`: what is meant for one visit of a stage never hits the next.',
  }),
}

/** Moves a job that nobody works on: on, back to an earlier stage, or past a decision. */
export const Transition = z
  .strictObject({
    ...expected,
    to,
    reason,
    idempotency_key: IdempotencyKey.optional().meta({
      description: 'Of this job: the same key is answered as the first time, whatever came after.',
    }),
  })
  .meta({ id: 'Transition' })
export type Transition = z.infer<typeof Transition>
export const TransitionHeaders = z.object({
  'idempotency-key': IdempotencyKey.optional().meta({ description: 'As idempotency_key.' }),
})

const bootId = z
  .string()
  .regex(/^[\x21-\x7e]{1,64}$/, 'must be 1 to 64 printable ASCII characters without blanks')

/** Owns the next move of a job before it is made, for what must be done first. */
export const TransitionBegin = z
  .strictObject({
    ...expected,
    owner: Name.meta({ description: 'Who; bound to the token that it begins with.' }),
    boot_id: bootId.meta({
      description: 'New with each start of the owner: a new one ends what it had begun.',
    }),
    ceiling_ms: z
      .number()
      .int()
      .min(1)
      .max(maxCeilingMs)
      .default(maxCeilingMs)
      .meta({ description: 'How long it may take, at most; default and cap 20 min.' }),
  })
  .meta({ id: 'TransitionBegin' })
export type TransitionBegin = z.infer<typeof TransitionBegin>
export type TransitionBeginInput = z.input<typeof TransitionBegin>

export const TransitionBegun = z
  .object({
    token: z.uuid().meta({ description: 'For commit or abandon.' }),
    expires_at: Instant.meta({ description: 'When it may be ended by others.' }),
  })
  .meta({ id: 'TransitionBegun' })
export type TransitionBegun = z.infer<typeof TransitionBegun>

const token = z.uuid().meta({ description: 'As begin answered it.' })

export const TransitionCommit = z
  .strictObject({ token, to, reason })
  .meta({ id: 'TransitionCommit' })
export type TransitionCommit = z.infer<typeof TransitionCommit>

/** By its owner with the token, or by force with a note. */
export const TransitionAbandon = z
  .strictObject({
    token: token.optional(),
    force: z.literal(true).optional().meta({ description: 'Whoever owns it. Audited.' }),
    note: Text(2_000).min(1).optional().meta({ description: 'With force: why.' }),
    owner: Name.optional().meta({
      description: 'With force: from this owner only; else 409 transition_owned.',
    }),
    boot_id: bootId.optional().meta({ description: 'With force: from this process only.' }),
  })
  .superRefine(({ token, force, note, owner, boot_id }, context) => {
    const refuse = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message })
    if (token === undefined && !force) refuse('token', 'is missing; or give force and note')
    if (token !== undefined && force) refuse('force', 'not with a token')
    if (force && note === undefined) refuse('note', 'say why it is taken by force')
    for (const [path, given] of Object.entries({ note, owner, boot_id })) {
      if (!force && given !== undefined) refuse(path, 'only with force')
    }
  })
  .meta({ id: 'TransitionAbandon' })
export type TransitionAbandon = z.infer<typeof TransitionAbandon>

/** One move of a job. */
export const Move = z
  .object({
    move: PositiveCount,
    from_stage: z.string(),
    to_stage: z.string().meta({ description: 'A stage, or succeeded or failed.' }),
    by: z.enum(['report', 'transition', 'commit']),
    fence: PositiveCount.nullable().meta({
      description: 'By report: of the lease that succeeded.',
    }),
    token_id: z.string().nullable().meta({ description: 'By others: of the token that moved it.' }),
    reason: z.string().nullable(),
    idempotency_key: z.string().nullable(),
    at: Instant,
  })
  .meta({ id: 'Move' })
export type Move = z.infer<typeof Move>

export const TransitionAnswer = z.object({
  job: Job.meta({ description: 'As it is now.' }),
  moved: Move.meta({ description: 'The move that was asked for.' }),
  replayed: z.literal(true).optional().meta({ description: 'It had been made before.' }),
})
export type TransitionAnswer = z.infer<typeof TransitionAnswer>

/** As Postgres counts them. */
const maxMove = 2_147_483_647

export const MoveListQuery = z.strictObject({
  cursor: z.coerce.number().int().min(0).max(maxMove).optional().meta({
    description: '`next_cursor` of the page before.',
  }),
  limit: z.coerce.number().int().min(1).max(500).default(100),
})
export type MoveListQuery = z.infer<typeof MoveListQuery>

export const MoveList = z.object({
  moves: z.array(Move).meta({ description: 'Oldest first.' }),
  next_cursor: PositiveCount.nullable().meta({ description: 'null: this was the last page.' }),
})
export type MoveList = z.infer<typeof MoveList>
