import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import pg from 'pg'
import type { TestProject } from 'vitest/node'
import { Surroundings } from './left-behind.ts'
import { wantedVersion } from './postgres-versions.ts'
import { startServer } from './server.ts'
import { makeTemplate } from './template.ts'

declare module 'vitest' {
  interface ProvidedContext {
    adminUrl: string
    template: string
  }
}

/** One Postgres a run, and in it a template that every test file clones. */
export default async function setup(project: TestProject) {
  const server = await startServer()
  await mustBeWanted(server.adminUrl)
  const surroundings = await Surroundings.look(server.adminUrl)
  const template = `understudy_template_${randomBytes(4).toString('hex')}`
  await makeTemplate(server.adminUrl, template)
  project.provide('adminUrl', server.adminUrl)
  project.provide('template', template)
  return async () => {
    const kept = await dropTemplate(server.adminUrl, template)
    try {
      const hasFailed = project.vitest.state.getCountOfFailedTests() > 0
      await surroundings.mustBeAsBefore(hasFailed ? kept : [])
    } catch (error) {
      // What a teardown throws is shown, and fails nothing.
      process.exitCode = 1
      throw error
    } finally {
      await server.stop()
    }
    if (kept.length > 0) {
      process.stderr.write(`databases of failed tests were kept: ${kept.join(', ')}\n`)
      process.stderr.write(`${server.howToReach}\n`)
    } else if (server.folder) {
      await rm(server.folder, { recursive: true, force: true })
    }
  }
}

/** A version that was asked for by name is the one that is tested, also on a server that was given. */
async function mustBeWanted(adminUrl: string) {
  const admin = new pg.Client({ connectionString: adminUrl })
  await admin.connect()
  const { rows } = await admin.query<{ server_version: string }>('SHOW server_version')
  await admin.end()
  const version = rows[0]?.server_version ?? ''
  process.stderr.write(`Postgres ${version}\n`)
  if (process.env.UNDERSTUDY_TEST_POSTGRES && !version.startsWith(`${wantedVersion()}.`)) {
    throw new Error(`Postgres ${wantedVersion()} was asked for; the server is ${version}`)
  }
}

/** Returns the databases that failed tests left. */
async function dropTemplate(adminUrl: string, template: string): Promise<string[]> {
  const admin = new pg.Client({ connectionString: adminUrl })
  await admin.connect()
  await admin.query(`DROP DATABASE ${template}`)
  const prefix = template.replace('template', 'test')
  const { rows } = await admin.query<{ datname: string }>(
    'SELECT datname FROM pg_database WHERE starts_with(datname, $1)',
    [prefix],
  )
  await admin.end()
  return rows.map(({ datname }) => datname)
}
