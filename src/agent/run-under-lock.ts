import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { HeldLock } from '../sdk/index.ts'
import { signalGroup, stopOnAbort } from './process-group.ts'

export interface UnderLockOptions {
  command: string
  args: string[]
  /** What it inherits, besides what it is told of its lock. */
  env: Record<string, string | undefined>
  /** Between SIGTERM and SIGKILL for what it leaves behind, milliseconds. */
  graceMs: number
}

const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

/**
 * Runs a command while a lock is held, with our own stdin, stdout and stderr, in a process group of its own. When the
 * lock must be given up the group gets SIGTERM, and SIGKILL before another may have the lock; what the command leaves
 * in its group when it ends is ended, too. Returns its exit code, as a shell would: 128 + n for signal n; undefined:
 * the lock was to be given up before it was started. Throws what kept it from being started.
 */
export async function runUnderLock(
  held: HeldLock,
  options: UnderLockOptions,
): Promise<number | undefined> {
  let child: ChildProcess | undefined
  const stayAwake = () => undefined
  const forward = (signal: NodeJS.Signals) => {
    if (child) signalGroup(child, signal)
  }
  // Before there is a command: a signal that ended us just after it was started would leave it without a lock. One
  // that comes while it is started is heard afterwards.
  for (const signal of forwarded) process.on(signal, forward)
  // Ctrl-Z would stop us and not the command, which could then not be stopped in time.
  process.on('SIGTSTP', stayAwake)
  try {
    if (held.stopping.aborted) return undefined
    child = start(held, options)
    return await untilEnded(child, held, options.graceMs)
  } finally {
    for (const signal of forwarded) process.off(signal, forward)
    process.off('SIGTSTP', stayAwake)
  }
}

function start(held: HeldLock, { command, args, env }: UnderLockOptions): ChildProcess {
  return spawn(command, args, {
    detached: true,
    stdio: 'inherit',
    env: { ...env, UNDERSTUDY_LOCK_NAME: held.name, UNDERSTUDY_LOCK_FENCE: String(held.fence) },
  })
}

/** Until nothing of its group is left, if it has to be ended. */
async function untilEnded(child: ChildProcess, held: HeldLock, graceMs: number): Promise<number> {
  const ended = new AbortController()
  const exit = new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => resolve(code ?? 128 + numberOf(signal)))
  })
  const stop = AbortSignal.any([held.stopping, ended.signal])
  const settleGroup = stopOnAbort(child, { stop, graceMs: () => graceMs, kill: held.over })
  try {
    return await exit
  } finally {
    ended.abort()
    await settleGroup()
  }
}

function numberOf(signal: NodeJS.Signals | null): number {
  return signal === null ? 0 : constants.signals[signal]
}
