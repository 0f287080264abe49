import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { onTestFinished } from 'vitest'
import { cliPath } from '../../src/dev/replica-process.ts'
import { Client } from '../../src/sdk/index.ts'
import type { TestDatabase } from '../support/database.ts'
import { adminToken, startActive } from '../support/replica.ts'
import { Signals } from '../support/signals.ts'
import { tempFolder } from '../support/temp.ts'

interface AgentEvent {
  type: string
  jobId?: string
  reason?: string
}

/** `understudy agent` as a process of its own, running a shell command for each job. */
export async function startAgent(
  db: TestDatabase,
  command: string,
  flags: string[] = [],
  files = '1024',
) {
  const { api, app } = await startActive(db)
  const queue = `q-${randomUUID().slice(0, 8)}`
  const folder = tempFolder('agent')
  const events = new Signals<AgentEvent>()
  const args = [
    'agent',
    '--json',
    '--queue',
    queue,
    '--id',
    queue,
    ...flags,
    '--',
    'sh',
    '-c',
    command,
  ]
  const limited = ['-c', `ulimit -n ${files}; exec "$@"`, 'sh', process.execPath, cliPath, ...args]
  const child = spawn('sh', limited, {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, UNDERSTUDY_URLS: api.url, UNDERSTUDY_TOKEN: adminToken },
  })
  const lines: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line)
    if (line.startsWith('{')) events.fire(JSON.parse(line) as AgentEvent)
  })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const client = new Client({ urls: [api.url], token: adminToken })
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await exited
    await client.close()
  })
  return { api, app, client, queue, folder, events, lines, child, exited }
}

export async function untilFile(path: string): Promise<string> {
  while (!existsSync(path) || readFileSync(path, 'utf8') === '') {
    await new Promise((resolve) => setImmediate(resolve))
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
