import type { AuditList, AuditQuery } from '../contract/audit.ts'
import type { Role } from '../contract/tokens.ts'
import { type AuditRow, listAudit, recordAudit } from '../sql/audit.ts'
import type { Queryable } from '../sql/pool.ts'

/** Who asks, as the audit keeps it. */
export interface Actor {
  tokenId: string
  role: Role
  requestId: string
}

export type AuditedAction =
  | 'effect.resolve'
  | 'executor.clear'
  | 'executor.deregister'
  | 'executor.drain'
  | 'executor.undrain'
  | 'job.bulk'
  | 'job.retry'
  | 'job.transition'
  | 'leader.step_down'
  | 'lock.force_release'
  | 'token.create'
  | 'token.revoke'
  | 'transition.abandon'
  | 'transition.begin'
  | 'transition.force'

/** What was done, to what, and why or with which facts. */
export interface Audited {
  action: AuditedAction
  subject: string
  reason?: string | undefined
  facts?: Record<string, unknown>
}

/** Keeps what `actor` does, in the transaction of the deed. */
export async function audit(tx: Queryable, actor: Actor, done: Audited): Promise<void> {
  await recordAudit(tx, {
    action: done.action,
    subject: done.subject,
    reason: done.reason ?? null,
    facts: JSON.stringify(done.facts ?? {}),
    token_id: actor.tokenId,
    role: actor.role,
    request_id: actor.requestId,
  })
}

/** The log of what people did to the cluster. */
export class AuditLog {
  readonly #db: Queryable

  constructor(db: Queryable) {
    this.#db = db
  }

  async list({ cursor, limit }: AuditQuery): Promise<AuditList> {
    const rows = await listAudit(this.#db, { before: cursor, limit })
    const last = rows.length === limit ? rows.at(-1) : undefined
    return { entries: rows.map(toEntry), next_cursor: last?.id ?? null }
  }
}

function toEntry(row: AuditRow): AuditList['entries'][number] {
  return { ...row, role: row.role as Role, facts: row.facts as Record<string, unknown> }
}
