import { setTimeout as sleep } from 'node:timers/promises'
import type { Drill } from '../drill.ts'
import { answersTo } from '../history/answers-to.ts'

/** As cloud balancers do when no target passes its probes: then it is the standby that has to refuse. */
export const failsOpen: Drill = {
  name: 'fails-open',
  title: 'the balancer sends executors to the standby, too, for 5 s',
  promotes: false,
  async run(stage) {
    await stage.fault(
      'fails open',
      'balancer',
      () => stage.balancer.failOpen(),
      async () => {
        await sleep(5_000)
        await stage.balancer.heedProbes()
      },
    )
    await stage.untilWhole()
  },
  findFault: (events) =>
    answersTo(events, 'fleet-balanced').some(({ body }) => {
      return (body as { code?: string } | undefined)?.code === 'controller_standby'
    }),
}
