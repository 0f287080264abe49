import { setTimeout as sleep } from 'node:timers/promises'
import type { Drill } from '../drill.ts'
import { answersTo } from '../history/answers-to.ts'

/** Postgres and everybody with a list of URLs still reach the active: nobody may be promoted for it. */
export const balancerCutOff: Drill = {
  name: 'balancer-cut-off',
  title: 'the balancer alone is cut off from the active replica, for 5 s',
  promotes: false,
  stage: { cables: true },
  async run(stage) {
    const active = await stage.active()
    const cable = stage.cableTo(active)
    const cut = () => {
      cable.state = 'dropped'
    }
    await stage.fault('cable of the balancer dropped', active.name, cut, async () => {
      await sleep(5_000)
      cable.state = 'whole'
    })
    await stage.untilWhole()
  },
  findFault: (events) =>
    answersTo(events, 'fleet-balanced').some(({ status }) => status === 503 || status === 502),
}
