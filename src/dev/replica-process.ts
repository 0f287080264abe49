import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, closeSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { inheritedEnv } from '../config.ts'

export const cliPath = fileURLToPath(new URL('../cli/main.ts', import.meta.url))

export interface ReplicaOptions {
  name: string
  port: number
  databaseUrl: string
  adminToken: string
  logFile: string
  /** Further variables. */
  env?: Record<string, string>
  /** The CLI; default: of this build. */
  program?: string
}

/** A line of a replica's log. */
export interface LogLine {
  time: string
  msg: string
  term?: number
}

export interface ReplicaProcess {
  readonly name: string
  readonly url: string
  readonly pid: number
  /** Resolves when the process has ended, however. */
  readonly exited: Promise<void>
  readonly hasExited: boolean
  /** null: it runs, or was ended by a signal. */
  readonly exitCode: number | null
  /** Called for each line of its log. */
  onLog(listener: (line: LogLine) => void): void
  kill(signal: NodeJS.Signals): void
}

/** One replica, as a process of its own: `understudy serve`. */
export function startReplicaProcess(options: ReplicaOptions): ReplicaProcess {
  const { name, port } = options
  const log = openSync(options.logFile, 'a')
  const child = spawn(process.execPath, [options.program ?? cliPath, 'serve'], {
    // A group of its own: Ctrl-C reaches it through us, in the right order.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...inheritedEnv(),
      DATABASE_URL: options.databaseUrl,
      UNDERSTUDY_LEADER_DATABASE_URL: '',
      UNDERSTUDY_NAME: name,
      UNDERSTUDY_HOST: '127.0.0.1',
      UNDERSTUDY_PORT: String(port),
      UNDERSTUDY_ADVERTISED_URL: '',
      UNDERSTUDY_ROLE: '',
      UNDERSTUDY_ADMIN_TOKEN: options.adminToken,
      ...options.env,
    },
  })
  const listeners: ((line: LogLine) => void)[] = []
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  teeLog(child, log, (line) => {
    for (const listener of listeners) listener(line)
  })
  return {
    name,
    url: `http://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    exited,
    get hasExited() {
      return child.exitCode !== null || child.signalCode !== null
    },
    get exitCode() {
      return child.exitCode
    },
    onLog: (listener) => listeners.push(listener),
    kill: (signal) => child.kill(signal),
  }
}

/** Who is told of a line, or of the end, finds all of it in the file. */
function teeLog(child: ChildProcess, log: number, onLine: (line: LogLine) => void): void {
  child.once('close', () => closeSync(log))
  child.stderr?.on('data', (chunk: Buffer) => appendFileSync(log, chunk))
  if (!child.stdout) return
  createInterface({ input: child.stdout }).on('line', (text) => {
    appendFileSync(log, `${text}\n`)
    if (text.startsWith('{')) onLine(JSON.parse(text) as LogLine)
  })
}

/** Ends processes politely, and after a while without asking. */
export async function stopProcesses(processes: Pick<ReplicaProcess, 'kill' | 'exited'>[]) {
  for (const each of processes) each.kill('SIGTERM')
  const hung = setTimeout(() => {
    for (const each of processes) each.kill('SIGKILL')
  }, 12_000)
  await Promise.all(processes.map(({ exited }) => exited))
  clearTimeout(hung)
}
