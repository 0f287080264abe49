import { setTimeout as sleep } from 'node:timers/promises'
import type { OnDoubt } from '../../../src/contract/effects.ts'
import type { JobSubmitInput } from '../../../src/contract/jobs.ts'
import {
  type EffectContext,
  EffectNotDone,
  type EffectOptions,
  type JobContext,
  JobFailure,
} from '../../../src/sdk/index.ts'
import type { Outside } from './outside.ts'

/** Jobs of stages, effects and critical sections, as executors of a drill do them. */

export const releaseQueue = 'releases'
export const releaseKind = 'release'

export interface Release {
  /** How long each step takes. */
  ms: number
  /** How long its critical section goes on after the deploy. */
  sectionMs: number
  onDoubt: OnDoubt
  /** The attempt that deploys it fails for good. */
  breaks: boolean
}

export function jobOf(release: Release): JobSubmitInput {
  return {
    ...{ kind: releaseKind, queue: releaseQueue, payload: release, backoff: { base_ms: 100 } },
    stages: [
      { name: 'build' },
      { name: 'test' },
      { name: 'approve', manual: true },
      { name: 'deploy' },
    ],
  }
}

export async function workOn(
  context: JobContext,
  actor: string,
  outside: Outside,
): Promise<unknown> {
  const { job, signal } = context
  const { ms, sectionMs, onDoubt, breaks } = job.payload as Release
  if (job.stage !== 'deploy') {
    await sleep(ms, undefined, { signal })
    return { fence: job.fence }
  }
  const acting = new Acting(context, actor, outside, ms)
  await context.critical(async () => {
    await acting.once('deploy', onDoubt)
    await sleep(sectionMs)
  })
  signal.throwIfAborted()
  await acting.once('announce', 'retry')
  if (breaks && acting.hasDone.has('deploy')) {
    throw new JobFailure('broken', 'as it was asked to', { retryable: false })
  }
  return { fence: job.fence }
}

/** The irreversible part of one attempt. */
class Acting {
  readonly #context: JobContext
  readonly #actor: string
  readonly #outside: Outside
  readonly #ms: number
  readonly hasDone = new Set<string>()

  constructor(context: JobContext, actor: string, outside: Outside, ms: number) {
    this.#context = context
    this.#actor = actor
    this.#outside = outside
    this.#ms = ms
  }

  async once(key: string, onDoubt: OnDoubt): Promise<void> {
    await this.#context.effect(key, (effect) => this.#act(key, effect), this.#options(onDoubt))
  }

  /** Who dies in the first pause has done nothing; who dies in the second has, and nobody knows. */
  async #act(key: string, { token }: EffectContext): Promise<{ token: string }> {
    const { job, signal, isOwnershipUncertain } = this.#context
    await sleep(this.#ms)
    if (signal.aborted || isOwnershipUncertain) throw new EffectNotDone('it is not ours any more')
    this.#outside.act({ actor: this.#actor, jobId: job.job_id, fence: job.fence, key, token })
    this.hasDone.add(key)
    await sleep(this.#ms)
    return { token }
  }

  #options(onDoubt: OnDoubt): EffectOptions<{ token: string }> {
    if (onDoubt !== 'reconcile') return { onDoubt }
    return {
      onDoubt,
      reconcile: async ({ token }) =>
        (await this.#outside.has(token))
          ? { outcome: 'committed', result: { token } }
          : { outcome: 'aborted' },
    }
  }
}
