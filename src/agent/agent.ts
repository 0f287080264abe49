import { Executor, type ExecutorEvent, type JobContext } from '../sdk/index.ts'
import { runJob } from './run-job.ts'

export interface AgentOptions {
  urls: string[]
  token: string
  id: string
  queues: string[]
  labels: Record<string, string>
  capacity: number
  command: string
  args: string[]
  /** How long commands may go on after the agent was asked to stop, and between SIGTERM and SIGKILL. */
  graceMs: number
  /** Instead, when the job was cancelled. */
  cancelGraceMs: number
  /** A shell command to run once the command of a cancelled job has ended; it gets as long. */
  onCancel?: string | undefined
  /** What commands inherit. */
  env: Record<string, string | undefined>
  /** One line per event: for people, or JSON. */
  say(event: ExecutorEvent): void
}

/** Runs the command for each job until SIGTERM or SIGINT; a second signal stops what still runs, and a
 *  third kills it and exits. Throws ApiError if the control plane refuses this agent. */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { id, say, graceMs } = options
  const draining = new AbortController()
  const stopping = new AbortController()
  const killing = new AbortController()
  const onSignal = () => {
    if (stopping.signal.aborted) {
      killing.abort()
      process.exit(1)
    }
    if (draining.signal.aborted) stopping.abort()
    draining.abort()
    setTimeout(() => stopping.abort(), graceMs).unref()
  }
  const running = new Set<Promise<unknown>>()
  const handler = async (context: JobContext) => {
    const run = runJob(context, { ...options, kill: killing.signal, stderr: process.stderr })
    running.add(run)
    return run.finally(() => running.delete(run))
  }
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  try {
    const executor = new Executor({ ...options, executorId: id, handler, onEvent: say })
    await executor.run(draining.signal, stopping.signal)
  } finally {
    // An agent that is refused has told its commands to stop. They are its to kill until they have.
    stopping.abort()
    await Promise.allSettled(running)
    process.off('SIGTERM', onSignal).off('SIGINT', onSignal)
  }
}
