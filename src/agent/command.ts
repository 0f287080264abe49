import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { type JobContext, JobFailure, JobRelease } from '../sdk/index.ts'
import { LastJsonLine } from './last-json-line.ts'
import { stopOnAbort } from './process-group.ts'

export interface CommandOptions {
  command: string
  args: string[]
  /** Between SIGTERM and SIGKILL, milliseconds. */
  graceMs: number
  /** Instead, when the job was cancelled. */
  cancelGraceMs: number
  /** Aborts when no grace is left for anybody. */
  kill: AbortSignal
  /** What the command inherits, besides what it is told of its job. */
  env: Record<string, string | undefined>
  /** Where the command's complaints go. */
  stderr: NodeJS.WritableStream
}

const tailLength = 2_048
/** How long output may still arrive after the command has ended. */
const afterExitMs = 1_000
/** This machine is short of something; the job is not at fault. */
const shortages = new Set(['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM'])
const shortageMs = 1_000

/**
 * Runs a command for one job: the payload on its stdin, the job in its environment, a process group of
 * its own. Exit code 0: the last JSON line of its stdout is the result. Any other: the attempt failed,
 * with that line as its error if it has a `code`, else with the end of stderr. Output is not held.
 */
export async function runCommand(context: JobContext, options: CommandOptions): Promise<unknown> {
  const child = await start(context, options)
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  const closed = new Promise((resolve) => child.once('close', resolve))
  const { signal: stop } = context
  const { graceMs, cancelGraceMs, kill } = options
  const settleGroup = stopOnAbort(child, {
    stop,
    kill,
    graceMs: () => (stop.reason === 'cancelled' ? cancelGraceMs : graceMs),
  })
  const lastLine = new LastJsonLine()
  const tail = new Tail()
  child.stdout.on('data', (chunk: Buffer) => lastLine.write(chunk))
  void passOn(child.stderr, options.stderr, tail)
  // A command that does not read its stdin closes it early: that is its right.
  child.stdin.on('error', () => child.stdin.destroy())
  child.stdin.end(JSON.stringify(context.job.payload))
  const [code, signal] = await ended
  await settleGroup()
  await Promise.race([closed, sleep(afterExitMs, undefined, { ref: false })])
  // What the command left running in the background may hold them open for ever.
  for (const stream of child.stdio) stream?.destroy()
  const value = lastLine.end()
  if (code === 0 && lastLine.isTooLong) throw tooLong()
  if (code === 0) return value ?? null
  if (context.signal.aborted) throw new Error('stopped')
  throw failure(code, signal, value, tail.text)
}

async function start(
  context: JobContext,
  { command, args, env, stderr }: CommandOptions,
): Promise<ChildProcessWithoutNullStreams> {
  try {
    const child = spawn(command, args, {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...env, ...environment(context) },
    })
    await once(child, 'spawn')
    return child
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException
    if (!shortages.has(code)) throw new JobFailure('spawn_failed', `${command}: ${message}`)
    stderr.write(`${command}: ${message}; the job is given back\n`)
    // Given back at once, it would be back at once.
    await sleep(shortageMs, undefined, { signal: context.signal }).catch(() => undefined)
    throw new JobRelease()
  }
}

/** One chunk at a time, so that a slow reader slows the command down; one that is gone does not. */
async function passOn(from: Readable, to: NodeJS.WritableStream, tail: Tail): Promise<void> {
  try {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      tail.write(chunk)
      await new Promise<void>((resolve) => to.write(chunk, () => resolve()))
    }
  } catch {
    // It was destroyed: nobody waits for the rest.
  }
}

/** The longest variable that Linux takes, with room for its name. */
const longestVariable = 128 * 1_024 - 256

/** What a command is told of its job. */
export function environment({ job, executorId, epoch, cancelReason }: JobContext) {
  const results = JSON.stringify(job.results)

  const variables = {
    // The agent's own, if it has one, is another trace.
    TRACEPARENT: job.traceparent ?? undefined,
    UNDERSTUDY_JOB_ID: job.job_id,
    UNDERSTUDY_FENCE: String(job.fence),
    UNDERSTUDY_ATTEMPT: String(job.attempt),
    UNDERSTUDY_QUEUE: job.queue,
    UNDERSTUDY_KIND: job.kind,
    UNDERSTUDY_STAGE: job.stage ?? undefined,
    UNDERSTUDY_RESULTS:
      job.stage !== null && Buffer.byteLength(results) <= longestVariable ? results : undefined,
    UNDERSTUDY_EXECUTOR_ID: executorId,
    UNDERSTUDY_EPOCH: String(epoch),
    UNDERSTUDY_CANCEL_REASON: cancelReason,
  }
  return job.checkpoint === null
    ? variables
    : { ...variables, UNDERSTUDY_CHECKPOINT: JSON.stringify(job.checkpoint) }
}

function tooLong(): JobFailure {
  const message = 'the last line of JSON on stdout is longer than any result that is kept'
  return new JobFailure('result_too_large', message, { retryable: false })
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
