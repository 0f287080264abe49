import type { Insertable, Selectable } from 'kysely'
import { build, rowsOf } from './build.ts'
import type { Queryable } from './pool.ts'
import type { Audit } from './schema.ts'

export type AuditRow = Selectable<Audit>
export type NewAudit = Insertable<Audit>

/** In the transaction that does what it tells of, or before it. */
export async function recordAudit(tx: Queryable, entry: NewAudit): Promise<void> {
  await rowsOf(tx, build.insertInto('audit').values(entry))
}

/** Newest first, below `before`. */
export function listAudit(
  db: Queryable,
  { before, limit }: { before: number | undefined; limit: number },
): Promise<AuditRow[]> {
  const listed = build.selectFrom('audit').selectAll().orderBy('id', 'desc').limit(limit)
  return rowsOf(db, before === undefined ? listed : listed.where('id', '<', before))
}
