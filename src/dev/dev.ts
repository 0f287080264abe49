import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { openSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { removeConnection, writeConnection } from '../cli/connection.ts'
import { inheritedEnv, loadDatabaseUrl } from '../config.ts'
import { Client } from '../sdk/index.ts'
import { migrate } from '../sql/migrate.ts'
import { Board } from './board.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts'
import { onLeave } from './leaving.ts'
import { isPortFree } from './ports.ts'
import {
  cliPath,
  type ReplicaProcess,
  startReplicaProcess,
  stopProcesses,
} from './replica-process.ts'
import { Running } from './running.ts'

const ports = { a: 4600, b: 4601 } as const
const restartMs = 3_000
const lookMs = 500
/** How long the replicas may take until one serves, on a machine that has much else to do; and until the board says that
 *  none does. */
const startMs = 60_000
const boardMs = 10_000
/** Until the ports of processes that were just killed are free. */
const orphansMs = 200

/** Everything in one terminal: Postgres (embedded unless DATABASE_URL is set), two replicas, one agent,
 *  and a live board. Returns the exit code once Ctrl-C has stopped it all. */
export async function runDev(): Promise<number> {
  const folder = resolve('.understudy')
  const running = new Running(folder)
  const inTheWay = await findInTheWay(running)
  if (inTheWay) {
    process.stderr.write(`error: ${inTheWay}\n`)
    return 1
  }
  const stopping = new AbortController()
  onLeave(() => stopping.abort())
  await mkdir(join(folder, 'logs'), { recursive: true })
  const dev = new Dev(folder, running)
  try {
    await dev.start()
    await dev.show(stopping.signal)
    return 0
  } finally {
    process.stdout.write('\nstopping …')
    await dev.stop()
    running.clear()
    process.stdout.write(' done\n')
  }
}

/** A second start, or a port that is taken: what it is, and what to do about it. */
async function findInTheWay(running: Running): Promise<string | undefined> {
  const other = await running.findOther()
  if (other !== undefined) {
    return `it runs here already, as process ${other}; stop it with Ctrl-C there, or kill ${other}`
  }
  if ((await running.endOrphans()) > 0) {
    say('ended the processes that an earlier start had left behind')
    await sleep(orphansMs)
  }
  for (const port of Object.values(ports)) {
    if (!(await isPortFree(port))) {
      return `port ${port} is busy: another program listens on it (ss -ltnp 'sport = :${port}' names it)`
    }
  }
  return undefined
}

class Dev {
  readonly #folder: string
  readonly #adminToken = randomBytes(24).toString('hex')
  readonly #replicas = new Map<string, ReplicaProcess>()
  readonly #urls = Object.values(ports).map((port) => `http://127.0.0.1:${port}`)
  #postgres: EmbeddedPostgres | undefined
  #agent: ChildProcess | undefined
  #databaseUrl = ''
  readonly #stopping = new AbortController()

  readonly #running: Running

  constructor(folder: string, running: Running) {
    this.#folder = folder
    this.#running = running
    running.addChild(undefined)
  }

  async start(): Promise<void> {
    this.#databaseUrl = loadDatabaseUrl() ?? (await this.#startPostgres())
    say('migrating')
    await migrate({ url: this.#databaseUrl })
    say('starting two replicas and an agent')
    for (const name of Object.keys(ports)) this.#startReplica(name as keyof typeof ports)
    await writeConnection(process.cwd(), { urls: this.#urls, token: this.#adminToken })
    const client = this.#client(startMs)
    try {
      // A read is repeated until somebody serves; a token that may have been made is not made again.
      await client.getStatus()
      await this.#startAgent(client)
      await client.submit({ kind: 'welcome', payload: { hello: 'from understudy dev' } })
    } finally {
      await client.close()
    }
  }

  async show(until: AbortSignal): Promise<void> {
    const client = this.#client(boardMs)
    const board = new Board(process.stdout)
    try {
      while (!until.aborted) {
        board.show(await this.#look(client))
        await sleep(lookMs, undefined, { signal: until }).catch(() => undefined)
      }
    } finally {
      await client.close()
    }
  }

  /** Those who need the others go first. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await removeConnection(process.cwd())
    if (this.#agent) await stopProcesses([toStoppable(this.#agent)])
    await stopProcesses([...this.#replicas.values()].filter(({ hasExited }) => !hasExited))
    await this.#postgres?.stop()
  }

  #client(patienceMs: number): Client {
    return new Client({ urls: this.#urls, token: this.#adminToken, patienceMs })
  }

  async #startPostgres(): Promise<string> {
    say('starting the embedded Postgres (set DATABASE_URL to use another)')
    this.#postgres = await startEmbeddedPostgres({ folder: join(this.#folder, 'postgres') })
    return this.#postgres.url
  }

  #startReplica(name: keyof typeof ports): void {
    const replica = startReplicaProcess({
      name,
      port: ports[name],
      databaseUrl: this.#databaseUrl,
      adminToken: this.#adminToken,
      logFile: join(this.#folder, 'logs', `replica-${name}.log`),
    })
    this.#running.addChild(replica.pid)
    this.#replicas.set(name, replica)
    const { signal } = this.#stopping
    void replica.exited.then(async () => {
      await sleep(restartMs, undefined, { signal }).catch(() => undefined)
      if (!signal.aborted) this.#startReplica(name)
    })
  }

  async #startAgent(client: Client): Promise<void> {
    const { token } = await client.createToken({
      name: 'agent of understudy dev',
      role: 'executor',
      executor_id: 'dev-agent',
    })
    const log = openSync(join(this.#folder, 'logs', 'agent.log'), 'a')
    const args = ['agent', '--capacity', '2', '--id', 'dev-agent', '--', 'sh', '-c', 'sleep 1; cat']
    this.#agent = spawn(process.execPath, [cliPath, ...args], {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...inheritedEnv(), UNDERSTUDY_URLS: this.#urls.join(','), UNDERSTUDY_TOKEN: token },
    })
    this.#running.addChild(this.#agent.pid)
  }

  async #look(client: Client) {
    const [status, newest] = await Promise.all([
      client.getStatus().catch(() => undefined),
      client.listJobs({ limit: 1 }).catch(() => undefined),
    ])
    const replicas = await Promise.all(
      [...this.#replicas.values()].map(async ({ name, pid, url, hasExited }) => ({
        name,
        pid,
        url,
        state: hasExited ? 'dead; restarts in a moment' : await stateOf(url),
      })),
    )
    return { status, replicas, newestJobId: newest?.jobs[0]?.id, folder: this.#folder }
  }
}

async function stateOf(url: string): Promise<string> {
  try {
    const response = await fetch(`${url}/health/live`, { signal: AbortSignal.timeout(400) })
    return ((await response.json()) as { controller_state: string }).controller_state
  } catch {
    return 'no answer'
  }
}

function toStoppable(child: ChildProcess) {
  return {
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    exited: new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve()
      child.once('exit', () => resolve())
    }),
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
