import {
  type Compilable,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from 'kysely'
import type { Queryable } from './pool.ts'
import type { Database } from './schema.ts'

/** Builds queries for filters, lists and administration, typed by the migrations. It has no connection
 *  of its own: what is built runs where any other statement would, pool or transaction. */
export const build = new Kysely<Database>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
})

/** Runs what was built. */
export async function rowsOf<Row>(db: Queryable, query: Compilable<Row>): Promise<Row[]> {
  const { sql, parameters } = query.compile()
  const { rows } = await db.query({ text: sql, values: [...parameters] })
  return rows as Row[]
}
