import { randomUUID } from 'node:crypto'
import type { JobSubmitInput } from '../contract/jobs.ts'

/** A key for a job without one, so that a submit that is sent again makes no second job. */
export function withKey(job: JobSubmitInput): JobSubmitInput {
  return { ...job, idempotency_key: job.idempotency_key ?? randomUUID() }
}

/** The key again where a balancer sees it, which then may send the submit again. A header holds no more than
 *  ASCII. */
export function keyHeader({ idempotency_key: key = '' }: JobSubmitInput): Record<string, string> {
  return /^[\x21-\x7e]+$/.test(key) ? { 'idempotency-key': key } : {}
}
