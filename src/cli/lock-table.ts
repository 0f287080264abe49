import type { Lock } from '../contract/locks.ts'
import { ago, table } from './print.ts'

/** Named locks, for people. */
export function lockTable(locks: Lock[]): string[] {
  return table(
    ['lock', 'state', 'owner', 'fence', 'acquired', 'renewed', 'expires', 'job'],
    locks.map((lock) => [
      lock.name,
      lock.state,
      lock.owner,
      lock.fence,
      ago(lock.acquired_at),
      ago(lock.renewed_at),
      lock.expires_at,
      lock.job_id,
    ]),
  )
}
