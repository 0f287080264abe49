import type { Queryable } from './pool.ts'

export interface TokenRow {
  id: string
  name: string
  role: 'executor' | 'submit' | 'read' | 'operator' | 'admin'
  secret_hash: Buffer
  executor_id: string | null
  queues: string[] | null
  created_at: string
  expires_at: string | null
  revoked_at: string | null
}

/** A token as it was found: whether it holds now, and for how long, by the database's clock. */
export interface FoundToken extends TokenRow {
  is_valid: boolean
  /** null: until it is revoked. */
  valid_ms: number | null
}

export type NewToken = Pick<
  TokenRow,
  'id' | 'name' | 'role' | 'secret_hash' | 'executor_id' | 'queues' | 'expires_at'
>

export async function insertToken(tx: Queryable, token: NewToken): Promise<void> {
  await tx.query({
    text: `INSERT INTO tokens (id, name, role, secret_hash, executor_id, queues, expires_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    values: [
      token.id,
      token.name,
      token.role,
      token.secret_hash,
      token.executor_id,
      token.queues,
      token.expires_at,
    ],
  })
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

export async function listTokens(db: Queryable): Promise<TokenRow[]> {
  const { rows } = await db.query<TokenRow>({
    text: 'SELECT * FROM tokens ORDER BY created_at, id',
  })
  return rows
}

/** The first revocation stands; a repeated one changes nothing. */
export async function revokeToken(tx: Queryable, id: string): Promise<TokenRow | undefined> {
  const { rows } = await tx.query<TokenRow>({
    text: `UPDATE tokens SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = $1
      RETURNING *`,
    values: [id],
  })
  return rows[0]
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
