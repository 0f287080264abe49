import { setTimeout as sleep } from 'node:timers/promises'
import type { Drill } from '../drill.ts'

export const freeze: Drill = {
  name: 'freeze',
  title: 'SIGSTOP of the active replica for 20 s, then SIGCONT',
  figureRuns: 30,
  promotes: true,
  async run(stage) {
    const active = await stage.active()
    await stage.fault(
      'SIGSTOP',
      active.name,
      () => active.kill('SIGSTOP'),
      async () => {
        await Promise.all([stage.untilWorkFlows(), sleep(20_000)])
        active.kill('SIGCONT')
      },
    )
    await stage.untilWhole()
  },
}
