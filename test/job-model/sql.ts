import pg from 'pg'
import { patientOptions } from '../support/patience.ts'

/** Plain SQL past both doors, for staging and looking; simple queries, so that a step is one round trip. */
export type Sql = <Row extends pg.QueryResultRow>(text: string) => Promise<Row[]>

export async function openSql(url: string): Promise<{ sql: Sql; end(): Promise<void> }> {
  const client = new pg.Client(patientOptions(url, 'model'))
  client.on('error', () => undefined)
  await client.connect()
  await client.query("SET understudy.door = 'test'")
  return {
    sql: async <Row extends pg.QueryResultRow>(text: string) =>
      (await client.query<Row>(text)).rows,
    end: () => client.end(),
  }
}
