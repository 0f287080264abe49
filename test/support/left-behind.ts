import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'

/** What a run may leave to the next one: on the server, and of this checkout on this machine. */
export class Surroundings {
  readonly #adminUrl: string
  #before: string[] = []

  private constructor(adminUrl: string) {
    this.#adminUrl = adminUrl
  }

  static async look(adminUrl: string): Promise<Surroundings> {
    const surroundings = new Surroundings(adminUrl)
    surroundings.#before = await surroundings.#list()
    return surroundings
  }

  /** Throws if anything was left, or is gone. Databases of failed tests are kept on purpose. */
  async mustBeAsBefore(kept: string[]): Promise<void> {
    const after = await this.#list()
    const differences = [
      ...after.filter((item) => !this.#before.includes(item)).map((item) => `left: ${item}`),
      // Somebody else's process may end meanwhile; a database of theirs may not.
      ...this.#before
        .filter((item) => !item.startsWith('process ') && !after.includes(item))
        .map((item) => `gone: ${item}`),
    ].filter((item) => !kept.some((name) => item === `left: database ${name}`))
    if (differences.length > 0) {
      throw new Error(`the tests changed their surroundings:\n${differences.join('\n')}`)
    }
  }

  async #list(): Promise<string[]> {
    return [...(await listOnServer(this.#adminUrl)), ...(await listProcesses())]
  }
}

async function listOnServer(adminUrl: string): Promise<string[]> {
  const admin = new pg.Client({ connectionString: adminUrl })
  await admin.connect()
  try {
    const { rows } = await admin.query<{ item: string }>(
      `SELECT 'database ' || datname AS item FROM pg_database
      UNION ALL SELECT 'role ' || rolname FROM pg_roles
      UNION ALL SELECT format('prepared transaction %s of %s', gid, database) FROM pg_prepared_xacts`,
    )
    return rows.map(({ item }) => item)
  } finally {
    await admin.end()
  }
}

const program = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const examples = fileURLToPath(new URL('../../examples/', import.meta.url))

async function listProcesses(): Promise<string[]> {
  const lines = existsSync('/proc/self/cmdline') ? await readProc() : await askPs()
  return lines
    .filter((line) => line.includes(program) || line.includes(examples))
    .map((line) => `process ${line.trim()}`)
}

/** A bare Debian has no ps. */
async function readProc(): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const read = async (pid: string) => {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    return `${pid} ${line.replaceAll('\0', ' ')}`
  }
  return Promise.all(pids.map(read))
}

async function askPs(): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,args='])
  return stdout.split('\n')
}
