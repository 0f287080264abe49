import type { ErrorCode } from '../errors.ts'
import type { ControllerState } from '../leader/gate.ts'
import type { SchemaState } from '../sql/migrate.ts'

/** What a replica answers, by how it stands: one table, tested as a table. Only the active serves executors
 *  (invariant 12). The gate is asked before
 *  authentication and without the database. */

export type Standing =
  | ControllerState
  | 'database_unreachable'
  | 'database_refused'
  | 'schema_behind'
  | 'schema_ahead'

/** `replica`: submit, cancel, reads. `executor`: register, poll, heartbeat, report, drain and so on. `leader`: what is done to
 *  the one that holds the lock, recovering or active. */
export type Surface = 'live' | 'ready' | 'active' | 'replica' | 'executor' | 'leader'

const withoutDatabase = {
  live: 'served',
  ready: 'database_unavailable',
  active: 'database_unavailable',
  replica: 'database_unavailable',
  executor: 'database_unavailable',
  leader: 'database_unavailable',
} as const

export const standings = {
  standby: {
    live: 'served',
    ready: 'served',
    active: 'controller_standby',
    replica: 'served',
    executor: 'controller_standby',
    leader: 'controller_standby',
  },
  recovering: {
    live: 'served',
    ready: 'served',
    active: 'served',
    replica: 'served',
    executor: 'controller_recovering',
    leader: 'served',
  },
  active: {
    live: 'served',
    ready: 'served',
    active: 'served',
    replica: 'served',
    executor: 'served',
    leader: 'served',
  },
  draining: {
    live: 'served',
    ready: 'controller_draining',
    active: 'controller_draining',
    replica: 'served',
    executor: 'controller_draining',
    leader: 'controller_draining',
  },
  database_unreachable: withoutDatabase,
  database_refused: withoutDatabase,
  schema_behind: {
    live: 'served',
    ready: 'schema_behind',
    active: 'schema_behind',
    replica: 'schema_behind',
    executor: 'schema_behind',
    leader: 'schema_behind',
  },
  schema_ahead: {
    live: 'served',
    ready: 'schema_ahead',
    active: 'schema_ahead',
    replica: 'schema_ahead',
    executor: 'schema_ahead',
    leader: 'schema_ahead',
  },
} as const satisfies Record<Standing, Record<Surface, 'served' | ErrorCode>>

/** How a replica stands. One that leads and is trusted was answered by the database within the trust
 *  window, whatever its watch session says; one that drains says so first. */
export function standingOf(
  state: ControllerState,
  watch: {
    isReachable: boolean
    schema: SchemaState | undefined
    refusals: readonly unknown[]
  },
): Standing {
  if (state === 'draining') return 'draining'
  if (watch.refusals.length > 0) return 'database_refused'
  if (watch.schema === 'behind' || watch.schema === 'ahead') return `schema_${watch.schema}`
  if (state === 'standby' && !watch.isReachable) return 'database_unreachable'
  return state
}
