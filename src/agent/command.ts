import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { type JobContext, JobFailure } from '../sdk/index.ts'
import { LastJsonLine } from './last-json-line.ts'

export interface CommandOptions {
  command: string
  args: string[]
  /** Between SIGTERM and SIGKILL, milliseconds. */
  graceMs: number
  /** What the command inherits, besides what it is told of its job. */
  env: Record<string, string | undefined>
  /** Where the command's complaints go. */
  stderr: NodeJS.WritableStream
}

const tailLength = 2_048
/** How long output may still arrive after the command has ended. */
const afterExitMs = 1_000

/**
 * Runs a command for one job: the payload on its stdin, the job in its environment, a process group of
 * its own. Exit code 0: the last JSON line of its stdout is the result. Any other: the attempt failed,
 * with that line as its error if it has a `code`, else with the end of stderr. Output is not held.
 */
export async function runCommand(context: JobContext, options: CommandOptions): Promise<unknown> {
  const { command, args, graceMs } = options
  const child = spawn(command, args, {
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...options.env, ...environment(context) },
  })
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  const closed = new Promise((resolve) => child.once('close', resolve))
  const lastLine = new LastJsonLine()
  const tail = new Tail()
  child.stdout.on('data', (chunk: Buffer) => lastLine.write(chunk))
  child.stderr.on('data', (chunk: Buffer) => tail.write(chunk))
  child.stderr.pipe(options.stderr, { end: false })
  // A command that does not read its stdin closes it early: that is its right.
  child.stdin.on('error', () => child.stdin.destroy())
  child.stdin.end(JSON.stringify(context.job.payload))
  const untie = stopOnAbort(child, context.signal, graceMs)
  try {
    const [code, signal] = await ended
    // What the command left running in the background may hold its output open for ever.
    await Promise.race([closed, sleep(afterExitMs, undefined, { ref: false })])
    const value = lastLine.end()
    if (code === 0) return value ?? null
    throw failure(code, signal, value, tail.text)
  } catch (error) {
    if (context.signal.aborted) throw new Error('stopped', { cause: error })
    if (error instanceof JobFailure) throw error
    throw new JobFailure('spawn_failed', `${command}: ${(error as Error).message}`)
  } finally {
    untie()
  }
}

function environment({ job, executorId, epoch }: JobContext): Record<string, string> {
  const variables = {
    UNDERSTUDY_JOB_ID: job.job_id,
    UNDERSTUDY_FENCE: String(job.fence),
    UNDERSTUDY_ATTEMPT: String(job.attempt),
    UNDERSTUDY_QUEUE: job.queue,
    UNDERSTUDY_KIND: job.kind,
    UNDERSTUDY_EXECUTOR_ID: executorId,
    UNDERSTUDY_EPOCH: String(epoch),
  }
  return job.checkpoint === null
    ? variables
    : { ...variables, UNDERSTUDY_CHECKPOINT: JSON.stringify(job.checkpoint) }
}

/** SIGTERM to the whole group when the job must stop, SIGKILL when its grace is over. */
function stopOnAbort(child: ChildProcess, signal: AbortSignal, graceMs: number): () => void {
  let hardStop: NodeJS.Timeout | undefined
  const stop = () => {
    killGroup(child, 'SIGTERM')
    hardStop = setTimeout(() => killGroup(child, 'SIGKILL'), graceMs)
  }
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  return () => {
    signal.removeEventListener('abort', stop)
    clearTimeout(hardStop)
  }
}

function killGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch (error) {
    // ESRCH: the group has ended in the meantime, which is what was wanted.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function failure(
  code: number | null,
  signal: NodeJS.Signals | null,
  value: unknown,
  tail: string,
): JobFailure {
  const told = value as
    | { code?: unknown; message?: unknown; retryable?: unknown }
    | null
    | undefined
  if (typeof told?.code === 'string') {
    const options = typeof told.retryable === 'boolean' ? { retryable: told.retryable } : {}
    return new JobFailure(told.code.slice(0, 128), String(told.message ?? ''), options)
  }
  const how = code === null ? `killed by ${signal}` : `exit code ${code}`
  const message = tail === '' ? how : `${how}: ${tail}`
  return new JobFailure(code === null ? 'killed' : 'exit_code', message)
}

/** The end of what was written. */
class Tail {
  #kept = Buffer.alloc(0)

  write(chunk: Buffer): void {
    this.#kept = Buffer.concat([this.#kept, chunk.subarray(-tailLength)]).subarray(-tailLength)
  }

  get text(): string {
    return this.#kept.toString('utf8').trim()
  }
}
