import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** What the executors of the demo say of themselves. */
export type FleetEvent =
  | { at: number; type: 'served'; call: 'poll' | 'heartbeat' | 'report' }
  | { at: number; type: 'reported'; jobId: string; status: string }
  | { at: number; type: 'trouble'; call: string; error: string }

export interface ExecutorProcess {
  readonly id: string
  readonly pid: number
  readonly events: FleetEvent[]
  readonly exited: Promise<void>
  kill(signal: NodeJS.Signals): void
}

export interface FleetOptions {
  urls: string[]
  token: string
  capacity: number
  logFile: string
  onEvent(event: FleetEvent): void
}

const program = fileURLToPath(new URL('hash-executor.ts', import.meta.url))

export function startExecutorProcess(id: string, options: FleetOptions): ExecutorProcess {
  const { urls, token, capacity, logFile, onEvent } = options
  const child = spawn(process.execPath, [program], {
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.end(JSON.stringify({ urls, token, executorId: id, capacity }))
  child.stderr.pipe(createWriteStream(logFile, { flags: 'a' }))
  const events: FleetEvent[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    // A kill may cut the last line short.
    if (!line.endsWith('}')) return
    const event = JSON.parse(line) as FleetEvent
    events.push(event)
    onEvent(event)
  })
  return {
    id,
    pid: child.pid ?? 0,
    events,
    exited: new Promise((resolve) => child.once('close', () => resolve())),
    kill: (signal) => child.kill(signal),
  }
}

/** How long an executor was without an answer, up to the first of the successor; undefined if it never was
 *  served before or after. */
export function gapBefore(events: FleetEvent[], servesAgainAt: number): number | undefined {
  const served = events.filter(({ type }) => type === 'served').map(({ at }) => at)
  const before = served.filter((at) => at < servesAgainAt).at(-1)
  const after = served.find((at) => at >= servesAgainAt)
  return before === undefined || after === undefined ? undefined : after - before
}
