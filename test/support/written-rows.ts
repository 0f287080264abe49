import type { TestDatabase } from './database.ts'

/** How many rows of a table were written; `hot`: of those that were updated, without a word to any index. */
export interface Written {
  inserted?: number
  updated?: number
  hot?: number
  deleted?: number
}

/** Every session that writes tells the server's statistics as its transaction ends, before that is answered: they are
 *  exact from then on. */
export async function tellStatisticsAtOnce(db: TestDatabase): Promise<void> {
  await db.sql(`CREATE FUNCTION tell_statistics() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_stat_force_next_flush(); RETURN NULL; END $$`)
  const tables = await db.sql<{ name: string }>(
    'SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = $1 AND relnamespace = to_regnamespace($2)',
    ['r', 'public'],
  )
  for (const { name } of tables) {
    await db.sql(`CREATE TRIGGER tell_statistics BEFORE INSERT OR UPDATE OR DELETE ON ${name}
      FOR EACH STATEMENT EXECUTE FUNCTION tell_statistics()`)
  }
}

/** By table, what was written since the tables were made. */
export async function readWritten(db: TestDatabase): Promise<Map<string, Required<Written>>> {
  const rows = await db.sql<Required<Written> & { name: string }>(
    `SELECT relname AS name, n_tup_ins::integer AS inserted, n_tup_upd::integer AS updated,
        n_tup_hot_upd::integer AS hot, n_tup_del::integer AS deleted
      FROM pg_stat_user_tables`,
  )
  return new Map(rows.map(({ name, ...counts }) => [name, counts]))
}

/** What was written between the two, and nothing else. */
export function writtenBetween(
  before: Map<string, Required<Written>>,
  after: Map<string, Required<Written>>,
): Record<string, Written> {
  const kinds = ['inserted', 'updated', 'hot', 'deleted'] as const
  const changes = [...after].map(([table, counts]) => {
    const grown = kinds.map((kind) => [kind, counts[kind] - (before.get(table)?.[kind] ?? 0)])
    return [table, Object.fromEntries(grown.filter(([, count]) => count !== 0))]
  })
  return Object.fromEntries(changes.filter(([, change]) => Object.keys(change).length > 0))
}
