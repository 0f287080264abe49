import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import pg from 'pg'
import { startServer } from '../support/server.ts'
import { makeTemplate } from '../support/template.ts'

/** A database as tests have them, guards and all, on a Postgres of its own. */
export async function openGround(): Promise<{ url: string; close(): Promise<void> }> {
  const server = await startServer()
  const name = `understudy_model_${randomBytes(4).toString('hex')}`
  await makeTemplate(server.adminUrl, name)
  return {
    url: Object.assign(new URL(server.adminUrl), { pathname: `/${name}` }).href,
    close: async () => {
      const admin = new pg.Client({ connectionString: server.adminUrl })
      await admin.connect()
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
      await admin.end()
      await server.stop()
      if (server.folder) await rm(server.folder, { recursive: true, force: true })
    },
  }
}
