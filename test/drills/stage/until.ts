import { setTimeout as sleep } from 'node:timers/promises'

/** Longest that anything is waited for that must come, if nothing else is said. */
const defaultPatienceMs = 90_000

interface UntilOptions {
  everyMs?: number
  patienceMs?: number
  signal?: AbortSignal | undefined
}

/** Asks until there is an answer. Throws, with what was missed, if none comes, and at once when `signal` says so. */
export async function until<T>(
  missing: string,
  ask: () => Promise<T | undefined>,
  { everyMs = 20, patienceMs = defaultPatienceMs, signal }: UntilOptions = {},
): Promise<T> {
  const last = performance.now() + patienceMs
  for (;;) {
    const found = await ask()
    if (found !== undefined) return found
    if (performance.now() > last) throw new Error(`${missing} within ${patienceMs / 1_000} s`)
    await sleep(everyMs, undefined, { signal })
  }
}

/** Whether somebody answers there with a 2xx. */
export async function answers(url: string): Promise<boolean> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(1_000) })
    await answer.body?.cancel()
    return answer.ok
  } catch {
    return false
  }
}
