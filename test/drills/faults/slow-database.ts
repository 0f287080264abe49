import { setTimeout as sleep } from 'node:timers/promises'
import type { Drill } from '../drill.ts'

/** Half a second a round trip leaves the ping within its window of trust: it keeps leading, slowly. */
export const slowDatabase: Drill = {
  name: 'slow-database',
  title: 'every answer of Postgres reaches the active replica 500 ms late, for 10 s',
  promotes: false,
  stage: { cables: true },
  async run(stage) {
    const active = await stage.active()
    await stage.fault(
      'cable slow',
      active.name,
      () => active.damage('slow'),
      async () => {
        await sleep(10_000)
        active.damage('whole')
      },
    )
    await stage.untilWhole()
  },
}
