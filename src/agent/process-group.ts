import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

/** How often to look whether a stopped command's group is gone. */
const lookMs = 20

export interface StopOptions {
  /** Aborts when the command must stop. */
  stop: AbortSignal
  /** Between SIGTERM and SIGKILL, milliseconds; asked when it must stop. */
  graceMs(): number
  /** Aborts when no grace is left for anybody. */
  kill: AbortSignal
}

/** SIGTERM to the whole group when the command must stop, SIGKILL when its grace is over. To be called when
 *  the command itself has ended: what it started has its grace too, and may be saving its work, but must
 *  not go on beside whoever comes next. */
export function stopOnAbort(
  child: ChildProcess,
  { stop, graceMs, kill }: StopOptions,
): () => Promise<void> {
  let hardStop: NodeJS.Timeout | undefined
  let isKilled = false
  const onKill = () => {
    isKilled = true
    signalGroup(child, 'SIGKILL')
  }
  const onStop = () => {
    signalGroup(child, 'SIGTERM')
    hardStop = setTimeout(onKill, graceMs())
  }
  stop.addEventListener('abort', onStop, { once: true })
  kill.addEventListener('abort', onKill, { once: true })
  if (stop.aborted) onStop()
  if (kill.aborted) onKill()
  return async () => {
    while (stop.aborted && !isKilled && signalGroup(child, 0)) await sleep(lookMs)
    stop.removeEventListener('abort', onStop)
    kill.removeEventListener('abort', onKill)
    clearTimeout(hardStop)
  }
}

/** Whether anything of the group is left to get it. */
export function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals | 0): boolean {
  try {
    return pid !== undefined && process.kill(-pid, signal)
  } catch {
    return false
  }
}
