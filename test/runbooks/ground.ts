import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { onTestFinished } from 'vitest'
import { findFreePort } from '../../src/dev/ports.ts'
import {
  cliPath,
  type LogLine,
  type ReplicaProcess,
  startReplicaProcess,
} from '../../src/dev/replica-process.ts'
import { version } from '../../src/version.ts'
import { Api } from '../support/api.ts'
import { adminToken } from '../support/replica.ts'
import { Signals } from '../support/signals.ts'
import { tempFolder } from '../support/temp.ts'
import { migrated, type OwnPostgres } from './postgres.ts'
import { psql } from './psql.ts'

/** Two machines, in runbooks at these addresses. */
const shownUrls = { one: 'http://10.0.0.11:4600', two: 'http://10.0.0.12:4600' }
export type Name = keyof typeof shownUrls

export interface Replica {
  process: ReplicaProcess
  api: Api
  log: Signals<{ type: string; line: LogLine }>
}

export interface Agent {
  kill(signal: NodeJS.Signals): void
  /** A line that it wrote, past or future. */
  said(part: string): Promise<void>
  exited: Promise<number | null>
}

interface StartOptions {
  env?: Record<string, string>
  program?: string
}

/** Leases are beaten for often, and what is over is found soon; nobody is taken for dead because this
 *  machine is busy. */
const quick = {
  UNDERSTUDY_HEARTBEAT_MS: '500',
  UNDERSTUDY_SWEEP_INTERVAL_MS: '250',
  UNDERSTUDY_TRUST_WINDOW_MS: '8000',
  UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '12000',
}

/** Where a runbook is followed: a database, two machines `one` and `two`, agents, and somebody's shell. */
export class Ground {
  readonly postgres: OwnPostgres
  readonly database = `rb_${randomBytes(4).toString('hex')}`
  readonly folder = tempFolder('runbook')
  /** What the shell has set. */
  readonly env: Record<string, string> = {}
  readonly #ports: Record<Name, number>
  readonly #replicas = new Map<Name, Replica>()
  readonly #staging: pg.Pool
  #program = cliPath

  private constructor(postgres: OwnPostgres, ports: Record<Name, number>) {
    this.postgres = postgres
    this.#ports = ports
    Object.assign(this.env, {
      DATABASE_URL: this.databaseUrl,
      UNDERSTUDY_URLS: `${this.url('one')},${this.url('two')}`,
      UNDERSTUDY_TOKEN: adminToken,
    })
    this.useBuild(cliPath)
    // It lets go soon: a database is copied only while nobody is in it.
    this.#staging = new pg.Pool({
      connectionString: this.databaseUrl,
      application_name: 'staging',
      max: 1,
      idleTimeoutMillis: 200,
    })
    this.#staging.on('error', () => undefined)
    onTestFinished(() => this.#staging.end())
  }

  static async prepare(postgres: OwnPostgres): Promise<Ground> {
    const ports = { one: await findFreePort(), two: await findFreePort() }
    await postgres.start()
    const ground = new Ground(postgres, ports)
    await postgres.createDatabase(ground.database, migrated)
    onTestFinished(() => postgres.dropDatabase(ground.database))
    return ground
  }

  get databaseUrl(): string {
    return this.postgres.url(this.database)
  }

  url(name: Name): string {
    return `http://127.0.0.1:${this.#ports[name]}`
  }

  /** The build that `understudy` is on the path. */
  useBuild(program: string): void {
    this.#program = program
    const file = join(this.folder, 'understudy')
    writeFileSync(file, `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`)
    chmodSync(file, 0o755)
  }

  /** The replica in question, in `$REPLICA` and `$LOG`. */
  lookAt(name: Name): void {
    this.env.REPLICA = this.url(name)
    this.env.LOG = this.#logFile(name)
  }

  #logFile(name: Name): string {
    return join(this.folder, `${name}.log`)
  }

  replica(name: Name): Replica {
    const replica = this.#replicas.get(name)
    if (!replica) throw new Error(`${name} was not started`)
    return replica
  }

  /** Starts the process; it may not get far. */
  launch(name: Name, { env = {}, program = this.#program }: StartOptions = {}): Replica {
    const process = startReplicaProcess({
      name,
      port: this.#ports[name],
      databaseUrl: this.databaseUrl,
      adminToken,
      logFile: this.#logFile(name),
      env: { ...quick, ...env },
      program,
    })
    onTestFinished(async () => {
      process.kill('SIGKILL')
      await process.exited
    })
    const log = new Signals<{ type: string; line: LogLine }>()
    process.onLog((line) => log.fire({ type: line.msg, line }))
    const replica = { process, api: new Api(this.url(name), adminToken), log }
    this.#replicas.set(name, replica)
    return replica
  }

  async start(name: Name, options: StartOptions = {}): Promise<Replica> {
    const replica = this.launch(name, options)
    await Promise.race([replica.log.wait('listening'), replica.process.exited])
    if (replica.process.hasExited) throw new Error(`${name} ended: see ${this.#logFile(name)}`)
    await replica.api.untilReady()
    return replica
  }

  /** `one` leads, and `two` stands by. */
  async startPair(options: StartOptions = {}): Promise<void> {
    const one = this.launch('one', options)
    await Promise.race([one.log.wait('lock granted'), one.process.exited])
    if (one.process.hasExited) throw new Error(`one ended: see ${this.#logFile('one')}`)
    await this.startStandby('two', options)
    await one.api.untilActive()
    this.lookAt('two')
  }

  async startStandby(name: Name, options: StartOptions = {}): Promise<void> {
    await this.start(name, options)
    await this.untilWaiting(name)
  }

  /** One that is ready need not wait for the lock of the active yet. */
  untilWaiting(name: Name): Promise<void> {
    return this.until(async () => {
      const [lock] = await this.sql<{ granted: boolean }>(
        `SELECT granted FROM pg_locks JOIN pg_stat_activity USING (pid)
          WHERE locktype = 'advisory' AND objsubid = 1 AND application_name = $1`,
        [`understudy ${name} lock`],
      )
      if (lock?.granted) throw new Error(`${name} leads, and was to stand by`)
      return lock !== undefined
    })
  }

  async stop(name: Name, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const { process } = this.replica(name)
    process.kill(signal)
    await process.exited
    if (signal === 'SIGTERM' && process.exitCode !== 0) {
      const end = readFileSync(this.#logFile(name), 'utf8').slice(-4_000)
      throw new Error(`${name} did not stop as asked: exit code ${process.exitCode}\n${end}`)
    }
  }

  /** An agent that runs this for each job of queue `render`. */
  async agent(id: string, command: string): Promise<Agent> {
    const args = ['agent', '--id', id, '--queue', 'render', '--', 'sh', '-c', command]
    const child = spawn(process.execPath, [this.#program, ...args], {
      cwd: this.folder,
      env: this.shellEnv,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
    onTestFinished(async () => {
      child.kill('SIGKILL')
      await exited
    })
    const lines = new Signals<{ type: 'line'; text: string }>()
    createInterface({ input: child.stderr }).on('line', (text) => {
      lines.fire({ type: 'line', text })
    })
    const said = async (part: string) => {
      await lines.wait('line', ({ text }) => text.includes(part))
    }
    await said('registered')
    return { kill: (signal) => child.kill(signal), said, exited }
  }

  get shellEnv(): Record<string, string> {
    return { PATH: `${this.folder}:${process.env.PATH}`, HOME: this.folder, ...this.env }
  }

  async sql<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.#staging.query<Row>(text, values)).rows
  }

  /** A session of somebody else. */
  async session(applicationName: string): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.databaseUrl,
      application_name: applicationName,
    })
    client.on('error', () => undefined)
    await client.connect()
    onTestFinished(() => client.end().catch(() => undefined))
    return client
  }

  async until(holds: () => Promise<boolean>): Promise<void> {
    while (!(await holds())) await sleep(20)
  }

  /** Until this selects a row. */
  async untilFound(text: string, values: unknown[] = []): Promise<void> {
    await this.until(async () => (await this.sql(text, values)).length > 0)
  }

  /** What the shell, or psql, prints for a block of a runbook. */
  async run({ language, text }: { language: 'sh' | 'sql'; text: string }): Promise<string> {
    if (language === 'sql') return psql(this.databaseUrl, text)
    const child = spawn('sh', ['-c', `exec 2>&1\n${text}`], {
      cwd: this.env.FOLDER ?? this.folder,
      env: this.shellEnv,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const out: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
    const printed = Buffer.concat(out).toString()
    return this.#asShown(code === 0 ? printed : `${printed}\nit ended with ${code}\n`)
  }

  #asShown(text: string): string {
    let shown = text.replaceAll(version, '0.1.0')
    for (const name of ['one', 'two'] as const) {
      shown = shown.replaceAll(this.url(name), shownUrls[name])
    }
    return shown
  }
}

/** What has to happen before blocks of a runbook, by the names that it gives. */
export type Stages = Record<string, () => Promise<void>>
export type Staging = (ground: Ground) => Stages
