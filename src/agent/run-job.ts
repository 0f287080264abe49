import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { JobContext } from '../sdk/index.ts'
import { type CommandOptions, environment, runCommand } from './command.ts'
import { signalGroup } from './process-group.ts'

export interface JobOptions extends CommandOptions {
  /** A shell command to run once the command of a cancelled job has ended. */
  onCancel?: string | undefined
}

/** Runs the command for one job, and cleans up after it if the job was cancelled meanwhile. What a command achieved
 *  in spite of that counts: there is nothing to clean up then. */
export async function runJob(context: JobContext, options: JobOptions): Promise<unknown> {
  try {
    return await runCommand(context, options)
  } catch (error) {
    if (context.signal.reason === 'cancelled' && options.onCancel !== undefined) {
      await cleanUp(options.onCancel, context, options)
    }
    throw error
  }
}

/** However it ends: the job is cancelled. */
async function cleanUp(shell: string, context: JobContext, options: JobOptions): Promise<void> {
  const { env, cancelGraceMs, kill, stderr } = options
  const child = spawn(shell, {
    shell: true,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...env, ...environment(context) },
  })
  child.stderr?.on('data', (chunk: Buffer) => stderr.write(chunk))
  const onKill = () => signalGroup(child, 'SIGKILL')
  const timer = setTimeout(onKill, cancelGraceMs)
  kill.addEventListener('abort', onKill, { once: true })
  try {
    const [code, signal] = await once(child, 'exit')
    if (code !== 0) stderr.write(`--on-cancel: ${signal ?? `exit code ${code}`}\n`)
  } catch (error) {
    stderr.write(`--on-cancel: ${String(error)}\n`)
  } finally {
    clearTimeout(timer)
    kill.removeEventListener('abort', onKill)
    onKill()
    child.stderr?.destroy()
  }
}
