import { appendFileSync } from 'node:fs'
import { appendFile, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobSubmitInput } from '../contract/jobs.ts'
import { type EffectOptions, type JobContext, JobFailure } from '../sdk/index.ts'

/** What the executor of `demo --deploy` does, stage by stage, and the file that it does it to. */

/** A pipeline of four stages, of which people decide one. */
export function releaseOf(version: string, checkFails: number): JobSubmitInput {
  return {
    kind: 'release',
    payload: { version, check_fails: checkFails },
    backoff: { base_ms: 100 },
    stages: [
      { name: 'build' },
      { name: 'test' },
      { name: 'approve', manual: true },
      { name: 'deploy' },
    ],
  }
}

/** A line for each deploy that ever happened. What is in it cannot be taken back. */
export class Outside {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
    // There from the beginning: what cannot be read must not look like what was not done.
    appendFileSync(file, '')
  }

  /** Its token is that of the ledger, which any outside system would want for its idempotency key; this one is too
   *  simple to look at it. */
  async deploy(version: string, token: string): Promise<void> {
    await appendFile(this.#file, `${JSON.stringify({ deployed: version, token })}\n`)
  }

  /** The tokens under which a version was deployed, one for each time. */
  async tokensOf(version: string): Promise<string[]> {
    const text = await readFile(this.#file, 'utf8')
    const lines = text.split('\n').filter((line) => line !== '')
    return lines
      .map((line) => JSON.parse(line) as { deployed: string; token: string })
      .filter(({ deployed }) => deployed === version)
      .map(({ token }) => token)
  }
}

export interface Onlooker {
  tell(what: string): void
  /** It is done out there, and nobody but the executor knows yet. */
  hasActed(context: JobContext, version: string): Promise<void>
}

const stepMs = 200

/** Works on any stage of a release. */
export async function workOn(
  context: JobContext,
  outside: Outside,
  onlooker: Onlooker,
): Promise<unknown> {
  const { stage, payload, results } = context.job
  const { version } = payload as { version: string }
  if (stage === 'deploy') return await deploy(context, outside, onlooker)
  onlooker.tell(`${version}: ${stage}`)
  await sleep(stepMs, undefined, { signal: context.signal })
  return stage === 'build' ? { image: `app:${version}` } : { passed: results.build }
}

/** A cancel must not tear a deploy in half: it waits for the end of the section. The ledger has it done once, on
 *  whatever attempt. */
async function deploy(context: JobContext, outside: Outside, onlooker: Onlooker): Promise<unknown> {
  const { attempt, payload } = context.job
  const { version, check_fails } = payload as { version: string; check_fails: number }
  let isReplayed = true
  const act = async ({ token }: { token: string }) => {
    isReplayed = false
    onlooker.tell(`${version}: deploy, attempt ${attempt}: the ledger says proceed`)
    await outside.deploy(version, token)
    await onlooker.hasActed(context, version)
    return { deployed: version }
  }
  const options = lookedUpIn(outside, version)
  const deployed = await context.critical(() => context.effect('deploy', act, options))
  if (isReplayed) {
    onlooker.tell(
      `${version}: deploy, attempt ${attempt}: the ledger says it was done; not done again`,
    )
  }
  // From here on a cancel counts.
  context.signal.throwIfAborted()
  await sleep(stepMs, undefined, { signal: context.signal })
  if (attempt <= check_fails) {
    onlooker.tell(`${version}: deploy, attempt ${attempt}: deployed, but the check after it fails`)
    throw new JobFailure('check_failed', 'nobody answers there yet')
  }
  return deployed
}

/** Should the lease be lost between the act and the ledger, the next attempt looks outside. */
function lookedUpIn(outside: Outside, version: string): EffectOptions<{ deployed: string }> {
  return {
    onDoubt: 'reconcile',
    reconcile: async ({ token }) => {
      const isDone = (await outside.tokensOf(version)).includes(token)
      return isDone
        ? { outcome: 'committed', result: { deployed: version } }
        : { outcome: 'aborted' }
    },
  }
}
