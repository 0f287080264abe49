import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { cutEverywhere, startCut } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'

/** A session of the pools that ends at any statement of what the leader does by itself. */

const db = useDatabase()

/** Longer than any of these tests, and than any pause between two tries. */
const neverMs = 600_000

/** The pauses between tries are over at once. */
const clock = {
  ...systemClock,
  sleep: (ms: number, ...over: AbortSignal[]) =>
    systemClock.sleep(ms < neverMs / 2 ? Math.min(ms, 20) : ms, ...over),
}

/** One job that this executor holds for good, and one whose lease can be made to run out. */
async function startHolding(env: Record<string, string> = {}) {
  const cut = await startCut(db, env, { clock })
  const { api, queue, executor, epoch } = cut
  const hold = async () => {
    const job = await api.submit({ queue })
    const poll = () => api.post(`/v1/executors/${executor}/poll`, { epoch, wait_ms: 300 })
    while (((await poll()).body.assignments ?? []).length === 0) await pause()
    return job
  }
  const kept = await hold()
  // However long all the cuts take.
  await db.sql("UPDATE jobs SET lease_expires_at = lease_expires_at + interval '1 day'")
  return { ...cut, kept, lose: hold }
}

/** Its lease ran out long ago, while its leader served. */
const expire = `UPDATE jobs SET lease_expires_at = lease_expires_at - interval '1 hour' WHERE id = $1`
const pastFloor = "UPDATE terms SET deadline_floor_at = served_at - interval '2 hours'"

async function findJob(id: string) {
  const [row] = await db.sql(
    `SELECT state, fence, attempt, lost_leases,
        (SELECT count(*) FROM attempts WHERE job_id = id) AS attempts
      FROM jobs WHERE id = $1`,
    [id],
  )
  return row
}

async function hasFloor(): Promise<boolean> {
  const [row] = await db.sql<{ has: boolean }>(
    'SELECT deadline_floor_at IS NOT NULL AS has FROM terms ORDER BY term DESC LIMIT 1',
  )
  return row?.has === true
}

const keptRow = { state: 'leased', fence: 1, attempt: 1, lost_leases: 0, attempts: 0 }
const lostRow = { state: 'available', fence: 2, attempt: 0, lost_leases: 1, attempts: 1 }

async function removeJob(id: string) {
  await db.sql('DELETE FROM jobs WHERE id = $1', [id])
}

test('a sweep that meets a cut anywhere takes a lease back once, and none besides', async () => {
  const { kept, lose, ...cut } = await startHolding()
  const cuts = await cutEverywhere('sweep', cut, {
    prepare: lose,
    act: async ({ id }) => {
      await db.sql(pastFloor)
      await db.sql(expire, [id])
      while ((await findJob(id))?.state === 'leased') await db.sql(pastFloor)
    },
    settle: async ({ id }) => {
      expect(await findJob(id)).toEqual(lostRow)
      expect(await findJob(kept.id)).toEqual(keptRow)
      await removeJob(id)
    },
  })
  expect(cuts.some((at) => at.includes('end_leases_if_fenced'))).toBe(true)
})

test('a recovery that meets a cut anywhere is tried again, and comes to the same end', async () => {
  // Sweeps run when the gate opens, and not again: what they ask for is no part of it, and would never end.
  const env = { UNDERSTUDY_SWEEP_INTERVAL_MS: `${neverMs}` }
  const { kept, lose, ...cut } = await startHolding(env)
  const { app, api, events } = cut
  const isPromoted = ({ type }: { type: string }) => type === 'promoted'
  const cuts = await cutEverywhere('recovery', cut, {
    prepare: lose,
    act: async ({ id }) => {
      const terms = events.fired.filter(isPromoted).length
      // At one stroke, so that it is for recovery to find.
      await db.sql(`${pastFloor}; ${expire.replace('$1', `'${id}'`)};
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database()
            AND application_name = 'understudy ${app.identity.name} lock'`)
      while (events.fired.filter(isPromoted).length === terms) await clock.sleep(1)
      await api.untilActive()
      // The last that is written before the sweeps.
      while (!(await hasFloor())) await clock.sleep(1)
      while ((await findJob(id))?.state === 'leased') await clock.sleep(1)
      // Tried again under the same term.
      expect(events.fired.filter(isPromoted)).toHaveLength(terms + 1)
    },
    settle: async ({ id }) => {
      expect(await findJob(id)).toEqual(lostRow)
      expect(await findJob(kept.id)).toEqual(keptRow)
      const [term] = await db.sql<{ recovery: object[] }>(
        'SELECT recovery FROM terms ORDER BY term DESC LIMIT 1',
      )
      expect(term?.recovery).toHaveLength(7)
      await removeJob(id)
    },
  })
  expect(cuts.some((at) => at.includes('end_leases_if_fenced'))).toBe(true)
})
