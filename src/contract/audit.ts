import { z } from 'zod'
import { Count, Instant, Json, PageQuery, PositiveCount } from './common.ts'
import { Role } from './tokens.ts'

export const AuditEntry = z
  .object({
    id: Count,
    at: Instant,
    action: z.string().meta({ description: 'What was done, as noun.verb.' }),
    subject: z.string().meta({ description: 'To what: the id of a token, the number of a term.' }),
    token_id: z.string().meta({
      description: 'By whom; `bootstrap`: by the admin token of a replica’s configuration.',
    }),
    role: Role,
    request_id: z.string(),
    reason: z.string().nullable(),
    facts: z.record(z.string(), Json),
  })
  .meta({ id: 'AuditEntry' })
export type AuditEntry = z.infer<typeof AuditEntry>

export const AuditQuery = z.strictObject({
  ...PageQuery,
  cursor: z.coerce
    .number()
    .pipe(PositiveCount)
    .optional()
    .meta({ description: '`next_cursor` of the page before.' }),
})
export type AuditQuery = z.infer<typeof AuditQuery>

export const AuditList = z
  .object({ entries: z.array(AuditEntry), next_cursor: Count.nullable() })
  .meta({ id: 'AuditList' })
export type AuditList = z.infer<typeof AuditList>
