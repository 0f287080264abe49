import { z } from 'zod'
import { GivenInstant, Instant, Name, Text } from './common.ts'

/** executor: its own executor and its assignments. submit: submit and read jobs. read: every GET.
 *  operator: those two, and running the fleet. admin: everything. */
export const Role = z.enum(['executor', 'submit', 'read', 'operator', 'admin']).meta({ id: 'Role' })
export type Role = z.infer<typeof Role>

export const ExecutorPattern = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}\*?$|^\*$/,
    'must be an executor id, or a prefix that ends in *',
  )

export const TokenCreate = z
  .strictObject({
    name: Text(128).min(1),
    role: Role,
    executor_id: ExecutorPattern.optional().meta({
      description: 'Role executor: the one id, or prefix* of ids, that it may act for.',
    }),
    queues: z.array(Name).min(1).max(1_000).optional().meta({
      description:
        'Roles executor and submit: the queues it may serve, or fill and read. Default: all.',
    }),
    expires_at: GivenInstant.optional(),
  })
  .meta({ id: 'TokenCreate' })
export type TokenCreate = z.infer<typeof TokenCreate>

export const TokenCreated = z.object({
  id: z.string(),
  token: z.string().meta({ description: 'Shown once; only its hash is kept.' }),
})
export type TokenCreated = z.infer<typeof TokenCreated>

export const Token = z
  .object({
    id: z.string(),
    name: z.string(),
    role: Role,
    executor_id: z.string().nullable(),
    queues: z.array(z.string()).nullable(),
    created_at: Instant,
    expires_at: Instant.nullable(),
    revoked_at: Instant.nullable(),
  })
  .meta({ id: 'Token' })
export type Token = z.infer<typeof Token>

export const TokenList = z.object({ tokens: z.array(Token) })
export const TokenParams = z.object({ id: Text(256).meta({ description: 'Of the token.' }) })
export const TokenAnswer = z.object({ token: Token })
