import type { Ask } from './requests.ts'

/** What is asked for by paths below a job. */

export type EffectVerb = 'begin' | 'commit' | 'abort' | 'resolve'

type Fields = Record<string, unknown>

const jobPath = /^\/v1\/jobs\/([^/]+)\/(cancel|retry|transition|critical)$/
const effectPath = /^\/v1\/jobs\/([^/]+)\/effects\/([^/]+)\/(begin|commit|abort|resolve)$/

/** undefined: nothing that an invariant speaks of. */
export function askOfJob(route: string, fields: Fields): Ask | undefined {
  if (route === '/v1/jobs/bulk') return askOfBulk(fields)
  const [, effectOf, key = '', verb] = effectPath.exec(route) ?? []
  if (effectOf) {
    return {
      ...{ kind: 'effect', verb: verb as EffectVerb, jobId: effectOf.toLowerCase() },
      ...{ key: decodeURIComponent(key), ...leaseOf(fields) },
      ...{ beginId: String(fields.begin_id ?? ''), outcome: String(fields.outcome ?? '') },
    }
  }
  const [, id = '', what] = jobPath.exec(route) ?? []
  const jobId = id.toLowerCase()
  if (what === 'cancel' || what === 'retry') return { kind: what, jobId }
  if (what === 'transition') return { kind: 'transition', jobId, to: String(fields.to) }
  if (what === 'critical') {
    return { kind: 'critical', jobId, enter: fields.enter === true, ...leaseOf(fields) }
  }
  return undefined
}

/** Jobs that a filter names. */
function askOfBulk({ action, dry_run }: Fields): Ask | undefined {
  if (dry_run === true) return undefined
  if (action === 'cancel' || action === 'retry') return { kind: action, jobId: undefined }
  return undefined
}

/** Whoever holds the job, as it says; an operator holds none. */
function leaseOf({ executor_id, epoch, fence }: Fields) {
  return {
    executorId: String(executor_id ?? ''),
    epoch: Number(epoch ?? 0),
    fence: Number(fence ?? 0),
  }
}
