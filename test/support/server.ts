import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { startEmbeddedPostgres } from '../../src/dev/embedded-postgres.ts'
import { findBuild, wantedVersion } from './postgres-versions.ts'

export interface TestServer {
  /** Of a role that may create databases. */
  adminUrl: string
  howToReach: string
  /** Where the data is, if it is ours to remove. */
  folder?: string
  stop(): Promise<void>
}

/** UNDERSTUDY_TEST_DATABASE_URL if it is set, else a container if a Docker engine answers, else the
 *  embedded server; of the version of UNDERSTUDY_TEST_POSTGRES. Never a skip. */
export async function startServer(): Promise<TestServer> {
  const version = wantedVersion()
  const given = process.env.UNDERSTUDY_TEST_DATABASE_URL
  if (given) return { adminUrl: given, howToReach: given, stop: async () => undefined }
  const isContainer = await dockerAnswers()
  const server = isContainer ? await startContainer(version) : await startEmbedded(version)
  try {
    if (version !== '15') await cheapenLogins(server.adminUrl)
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

/** The suite opens sessions by the thousand, and most of what each costs is 4,096 rounds over the password. Postgres 15
 *  knows no other number. */
async function cheapenLogins(adminUrl: string) {
  const { username, password } = new URL(adminUrl)
  const admin = new pg.Client({ connectionString: adminUrl })
  await admin.connect()
  try {
    await admin.query('SET scram_iterations = 1')
    await admin.query(
      `ALTER ROLE ${admin.escapeIdentifier(username)} PASSWORD ${admin.escapeLiteral(password)}`,
    )
  } finally {
    await admin.end()
  }
}

async function dockerAnswers(): Promise<boolean> {
  try {
    await promisify(execFile)('docker', ['info'], { timeout: 5_000 })
    return true
  } catch {
    return false
  }
}

const settings = { max_connections: '300', fsync: 'off', full_page_writes: 'off' }

async function startContainer(version: string): Promise<TestServer> {
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql')
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const container = await new PostgreSqlContainer(`postgres:${version}-alpine`)
    .withCommand(['postgres', ...flags])
    .start()
  return {
    adminUrl: container.getConnectionUri(),
    howToReach: 'they went with their container; set UNDERSTUDY_TEST_DATABASE_URL to keep them',
    stop: async () => {
      await container.stop()
    },
  }
}

async function startEmbedded(version: string): Promise<TestServer> {
  const folder = join(tmpdir(), `understudy-test-${process.pid}`)
  await mkdir(folder, { recursive: true })
  const server = await startEmbeddedPostgres({ folder, settings, build: await findBuild(version) })
  return {
    adminUrl: server.adminUrl,
    howToReach: `their data is in ${server.folder}; it was stopped`,
    folder: server.folder,
    stop: server.stop,
  }
}
