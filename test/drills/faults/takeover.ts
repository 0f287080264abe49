import type { Drill } from '../drill.ts'
import type { Stage } from '../stage/stage.ts'
import { until } from '../stage/until.ts'

/** The predecessor's lock session ends at the server, and not a word of it reaches the predecessor: it believes
 *  that it leads, its window of trust is open, and all its other sessions work. */
export const takeover: Drill = {
  name: 'takeover',
  title: 'the lock is taken from an active replica that goes on writing',
  smokeRuns: 10,
  promotes: true,
  stage: { replicas: ['a', 'b', 'c'], lockCables: true },
  async run(stage) {
    await stage.untilWorkFlows()
    await until('nobody waits for the lock', async () => {
      return (await stage.postgres.count(waiters)) > 0 || undefined
    })
    const active = await stage.active()
    const term = await stage.postgres.term()
    await stage.fault(
      'lock taken away',
      active.name,
      async () => {
        active.damage('dropped')
        await endLockSession(stage)
      },
      async () => {
        await stage.untilTermAfter(term)
        await stage.untilDeposed(active)
        active.damage('whole')
      },
    )
  },
  // A predecessor that tried to write, and learnt by that of its end: else none was tried.
  findFault: (events) =>
    events.some(
      (event) =>
        event.type === 'commit' &&
        event.changes.some(({ table, row }) => table === 'terms' && row.end_reason === 'fenced'),
    ),
}

const waiters = `SELECT FROM pg_locks JOIN leader l ON true
  WHERE locktype = 'advisory' AND NOT granted AND objsubid = 1
    AND ((classid::bigint << 32) | objid::bigint) = l.active_lock_id`

/** That of the term that leads. */
export async function endLockSession(stage: Stage): Promise<void> {
  const [row] = await stage.postgres.query(
    `SELECT pg_terminate_backend(pid) FROM pg_locks JOIN leader l ON true
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND ((classid::bigint << 32) | objid::bigint) = l.active_lock_id`,
  )
  if (!row) throw new Error('nobody holds the lock')
}
