import { setTimeout as sleep } from 'node:timers/promises'
import type { Drill } from '../drill.ts'
import { beginLongJobs, sleepOf } from '../stage/long-jobs.ts'
import { shortLeases } from '../stage/short-leases.ts'
import { until } from '../stage/until.ts'

const downMs = 60_000

/** Three times the TTL of a lease. Jobs that were begun before go on, and end after. */
export const bothDown: Drill = {
  name: 'both-down',
  title: 'both replicas are down for 60 s, and no executor loses what it works on',
  isOnce: true,
  promotes: true,
  stage: { env: shortLeases },
  async run(stage) {
    const jobs = Array.from({ length: 8 }, () => sleepOf(downMs + 15_000))
    const ids = await beginLongJobs(stage, jobs)
    await stage.fault(
      'kill -9',
      'both replicas',
      async () => {
        for (const replica of stage.replicas) replica.kill('SIGKILL')
        await Promise.all(stage.replicas.map((replica) => replica.exited()))
      },
      async () => {
        await sleep(downMs)
        for (const replica of stage.replicas) replica.start()
      },
    )
    await stage.untilWhole()
    await until('what was begun before did not end', async () => {
      const rows = await stage.postgres.query<{ state: string; fence: string }>(
        'SELECT state, fence FROM jobs WHERE id = ANY($1)',
        [ids],
      )
      if (rows.some(({ state }) => state === 'leased')) return undefined
      const strange = rows.filter(({ state, fence }) => state !== 'succeeded' || fence !== '1')
      if (strange.length > 0) throw new Error(`work was lost: ${JSON.stringify(strange)}`)
      return true
    })
  },
}
