import { type Insertable, type Selectable, sql } from 'kysely'
import { build, rowsOf } from './build.ts'
import type { Queryable } from './pool.ts'
import type { Tokens } from './schema.ts'

export type TokenRow = Selectable<Tokens>
export type NewToken = Insertable<Tokens>

/** A token as it was found: whether it holds now, and for how long, by the database's clock. */
export interface FoundToken extends TokenRow {
  is_valid: boolean
  /** null: until it is revoked. */
  valid_ms: number | null
}

export async function insertToken(tx: Queryable, token: NewToken): Promise<void> {
  await rowsOf(tx, build.insertInto('tokens').values(token))
}

export async function findTokens(db: Queryable, ids: string[]): Promise<FoundToken[]> {
  const { rows } = await db.query<FoundToken>({
    name: 'find_tokens',
    text: `SELECT *,
        revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp()) AS is_valid,
        (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::float8 AS valid_ms
      FROM tokens WHERE id = ANY ($1::text[])`,
    values: [ids],
  })
  return rows
}

export function listTokens(db: Queryable): Promise<TokenRow[]> {
  return rowsOf(db, build.selectFrom('tokens').selectAll().orderBy('created_at').orderBy('id'))
}

/** The first revocation stands; a repeated one changes nothing. */
export async function revokeToken(tx: Queryable, id: string): Promise<TokenRow | undefined> {
  const [row] = await rowsOf(
    tx,
    build
      .updateTable('tokens')
      .set({ revoked_at: sql`coalesce(revoked_at, clock_timestamp())` })
      .where('id', '=', id)
      .returningAll(),
  )
  return row
}

/** Tokens revoked within the last `ms`. */
export async function listRevokedTokens(db: Queryable, ms: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: 'list_revoked_tokens',
    text: `SELECT id FROM tokens
      WHERE revoked_at > statement_timestamp() - $1 * interval '1 millisecond'`,
    values: [ms],
  })
  return rows.map((row) => row.id)
}
