import type { Log } from '../log.ts'
import type { Counts } from '../loop.ts'
import type { Queryable } from '../sql/pool.ts'
import { findViolations, isFenceSound } from '../sql/violations.ts'

const message = 'what must never be, is'

/** What the gate relies on. Whatever comes of it, it stops nothing: most of the fleet is served better by a
 *  leader with a fault that is told than by none. */
export async function verifyFence(db: Queryable, log: Log): Promise<Counts> {
  if (await isFenceSound(db)) return {}
  log.error({ violation: 'unsound_fence' }, message)
  return { unsound_fence: 1 }
}

/** Looks among the leases for what must never be. It is logged and counted, and stops nothing, either. */
export async function verifyLeases(db: Queryable, log: Log): Promise<Counts> {
  const violations = await findViolations(db)
  for (const violation of violations) log.error(violation, message)
  return Object.fromEntries(violations.map(({ violation, count }) => [violation, count]))
}
