import { setTimeout as sleep } from 'node:timers/promises'

/** Between two looks at what is waited for: who spins takes the machine from those that it waits for. */
export function pause(): Promise<void> {
  return sleep(5)
}
