import type { Drill } from '../drill.ts'
import type { Stage } from '../stage/stage.ts'
import { until } from '../stage/until.ts'

const thousand = 1_000

export const thousandExecutors: Drill = {
  name: 'thousand-executors',
  title: '1,000 executors reconnect at once',
  isOnce: true,
  promotes: true,
  async run(stage) {
    const ids = Array.from({ length: thousand }, (_, n) => `herd-${n + 1}`)
    const urls = stage.replicas.map(({ url }) => url)
    stage.cast.addFleet('fleet-herd', ids, { urls, queues: ['idle'] })
    await until('not all executors registered', () => heard(stage, '-infinity'))
    const active = await stage.active()
    const now = await stage.postgres.now()
    await stage.fault('kill -9', active.name, () => active.kill('SIGKILL'))
    await until('not all executors came back', () => heard(stage, now))
    active.start()
    await stage.untilWhole()
  },
}

async function heard(stage: Stage, since: string): Promise<true | undefined> {
  const [row] = await stage.postgres.tryQuery<{ n: string }>(
    `SELECT count(*) AS n FROM executors WHERE executor_id LIKE 'herd-%' AND heartbeat_at > $1`,
    [since],
  )
  return Number(row?.n) === thousand || undefined
}
