import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { printJson, printLines } from '../cli/print.ts'
import { onLeave } from './leaving.ts'

/** A demo: what happens in it, and what it leaves. */
export interface Play<Outcome> {
  /** Rejects when what it waits for does not come. */
  play(aborted: AbortSignal): Promise<Outcome>
  /** Ends every process, whatever is under way. */
  stop(): Promise<void>
  remove(): Promise<void>
}

const patienceMs = 120_000

/** Plays a demo in a folder of its own, and prints its outcome. Returns 0 only if that is good: otherwise logs and data
 *  stay where they are. */
export async function perform<Outcome extends { isGood: boolean }>(
  create: (folder: string) => Play<Outcome>,
  linesOf: (outcome: Outcome) => string[],
  asJson = false,
): Promise<number> {
  const folder = resolve('.understudy', `demo-${process.pid}`)
  await mkdir(folder, { recursive: true })
  const demo = create(folder)
  const aborted = new AbortController()
  onLeave(() => aborted.abort())
  let outcome: Outcome | undefined
  try {
    outcome = await untilAborted(demo.play(aborted.signal), aborted.signal)
  } finally {
    await demo.stop()
    if (outcome?.isGood) await demo.remove()
    else say(`logs and data are kept in ${folder}`)
  }
  if (asJson) printJson(outcome)
  else printLines(linesOf(outcome))
  return outcome.isGood ? 0 : 1
}

/** Rejects as soon as it is to stop; what is under way then ends with the processes. */
function untilAborted<Outcome>(playing: Promise<Outcome>, aborted: AbortSignal): Promise<Outcome> {
  const stopped = new Promise<never>((_, reject) => {
    const stop = () => reject(new Error('stopped before the end'))
    aborted.addEventListener('abort', stop, { once: true })
  })
  return Promise.race([playing, stopped])
}

/** Until it is so; `where` tells how far it came, should it never be. */
export async function until(
  isSo: () => Promise<boolean>,
  where: () => string,
  aborted: AbortSignal,
): Promise<void> {
  const last = performance.now() + patienceMs
  while (!(await isSo())) {
    aborted.throwIfAborted()
    if (performance.now() > last) throw new Error(`${where()}; gave up waiting`)
    await sleep(10)
  }
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
