import { ApiError, Executor, type ExecutorEvent } from '../sdk/index.ts'
import { runCommand } from './command.ts'

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
  /** What commands inherit. */
  env: Record<string, string | undefined>
  /** One line per event: for people, or JSON. */
  say(event: ExecutorEvent): void
}

/** Runs the command for each job until SIGTERM or SIGINT; a second signal stops it at once. Returns the
 *  exit code. */
export async function runAgent(options: AgentOptions): Promise<number> {
  const { id, say, graceMs } = options
  const draining = new AbortController()
  const stopping = new AbortController()
  const onSignal = () => {
    if (draining.signal.aborted) stopping.abort()
    draining.abort()
    setTimeout(() => stopping.abort(), graceMs).unref()
  }
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  const executor = new Executor({
    ...options,
    executorId: id,
    handler: (context) => runCommand(context, { ...options, stderr: process.stderr }),
    onEvent: say,
  })
  try {
    await executor.run(draining.signal, stopping.signal)
    return 0
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    process.stderr.write(`refused: ${error.message} (${error.code})\n`)
    return error.status === 401 || error.status === 403 ? 4 : 1
  } finally {
    process.off('SIGTERM', onSignal).off('SIGINT', onSignal)
  }
}
