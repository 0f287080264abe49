import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { onTestFinished } from 'vitest'
import { cliPath } from '../../src/dev/replica-process.ts'
import { Client } from '../../src/sdk/index.ts'
import type { Api } from '../support/api.ts'
import type { TestDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { adminToken, startActive } from '../support/replica.ts'
import { Signals } from '../support/signals.ts'
import { tempFolder } from '../support/temp.ts'

interface AgentEvent {
  type: string
  jobId?: string
  reason?: string
}

interface AgentMore {
  flags?: string[]
  /** How many files it may have open. */
  files?: string
  env?: Record<string, string>
  /** A command that starts it: `faketime …`, say. */
  starter?: string[]
}

/** `understudy agent` as a process of its own, running a shell command for each job of this queue, which
 *  is its executor id, too. */
export function runAgent(urls: string[], queue: string, command: string, more: AgentMore = {}) {
  const folder = tempFolder('agent')
  const events = new Signals<AgentEvent>()
  const identity = ['--queue', queue, '--id', queue]
  const args = ['agent', '--json', ...identity, ...(more.flags ?? []), '--', 'sh', '-c', command]
  const limit = `ulimit -n ${more.files ?? '1024'}; exec "$@"`
  const started = [...(more.starter ?? []), process.execPath, cliPath, ...args]
  const child = spawn('sh', ['-c', limit, 'sh', ...started], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...process.env,
      UNDERSTUDY_URLS: urls.join(),
      UNDERSTUDY_TOKEN: adminToken,
      ...more.env,
    },
  })
  const lines: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line)
    if (line.startsWith('{')) events.fire(JSON.parse(line) as AgentEvent)
  })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await exited
  })
  return { folder, events, lines, child, exited }
}

/** A replica, an agent with a queue of its own, and a client. */
export async function startAgent(db: TestDatabase, command: string, more: AgentMore = {}) {
  const { api, app } = await startActive(db)
  const queue = `q-${randomUUID().slice(0, 8)}`
  const agent = runAgent([api.url], queue, command, more)
  return { api, app, queue, client: clientOf(api), ...agent }
}

export function clientOf(...apis: Api[]): Client {
  const client = new Client({ urls: apis.map(({ url }) => url), token: adminToken })
  onTestFinished(() => client.close())
  return client
}

export async function untilFile(path: string): Promise<string> {
  while (!existsSync(path) || readFileSync(path, 'utf8') === '') {
    await pause()
  }
  return readFileSync(path, 'utf8').trim()
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

export const terminate = (child: ChildProcess) => child.kill('SIGTERM')
