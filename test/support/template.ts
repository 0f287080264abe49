import { readFile } from 'node:fs/promises'
import pg from 'pg'
import { migrate } from '../../src/sql/migrate.ts'

/** A database of this name with the schema, and the guards of all tests. */
export async function makeTemplate(adminUrl: string, name: string) {
  const admin = new pg.Client({ connectionString: adminUrl })
  await admin.connect()
  await admin.query(`CREATE DATABASE ${name}`)
  await admin.end()
  const url = Object.assign(new URL(adminUrl), { pathname: `/${name}` }).href
  await migrate({ url })
  const owner = new pg.Client({ connectionString: url })
  await owner.connect()
  await owner.query(await readFile(new URL('guard.sql', import.meta.url), 'utf8'))
  await owner.end()
}
