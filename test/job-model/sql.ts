import pg from 'pg'
import { connectionOptions } from '../../src/sql/session.ts'

/** Plain SQL past both doors, for staging and looking; simple queries, so that a step is one round trip. */
export type Sql = <Row extends pg.QueryResultRow>(text: string) => Promise<Row[]>

export async function openSql(url: string): Promise<{ sql: Sql; end(): Promise<void> }> {
  // A machine that stalls is nothing that the model knows of.
  const patience = { connectionTimeoutMillis: 0, query_timeout: 0 }
  const client = new pg.Client({ ...connectionOptions(url, 'model'), ...patience })
  client.on('error', () => undefined)
  await client.connect()
  await client.query("SET understudy.door = 'test'")
  return {
    sql: async <Row extends pg.QueryResultRow>(text: string) =>
      (await client.query<Row>(text)).rows,
    end: () => client.end(),
  }
}
