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
    const active = await stage.active()
    const [{ term } = { term: 0 }] = await stage.postgres.tryQuery<{ term: number }>(
      'SELECT term FROM leader',
    )
    await stage.fault(
      'lock taken away',
      active.name,
      async () => {
        active.damage('dropped')
        await endLockSession(stage)
      },
      async () => {
        await until('nobody took over', async () => {
          return (
            (await stage.postgres.count('SELECT FROM leader WHERE term > $1', [term])) > 0 ||
            undefined
          )
        })
        await stage.untilDeposed(active)
        active.damage('whole')
      },
    )
    await stage.active()
  },
}

/** That of the term that leads. */
export async function endLockSession(stage: Stage): Promise<void> {
  const [row] = await stage.postgres.query(
    `SELECT pg_terminate_backend(pid) FROM pg_locks JOIN terms t ON true
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND ((classid::bigint << 32) | objid::bigint) = t.active_lock_id
      AND t.term = (SELECT term FROM leader)`,
  )
  if (!row) throw new Error('nobody holds the lock')
}
