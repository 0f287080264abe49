import type { Drill } from '../drill.ts'
import type { CableState } from '../stage/cable.ts'

/** The active replica loses Postgres; executors, submitters and the balancer still reach it. */
function cutOff(name: string, title: string, state: CableState): Drill {
  return {
    name,
    title,
    promotes: true,
    stage: { cables: true },
    async run(stage) {
      const active = await stage.active()
      await stage.fault(
        `cable ${state}`,
        active.name,
        () => active.damage(state),
        async () => {
          await stage.untilWorkFlows()
          active.damage('whole')
        },
      )
      await stage.untilWhole()
    },
  }
}

export const cutOffDropped: Drill = {
  ...cutOff('cut-off', 'the active replica is cut off from Postgres: nothing arrives', 'dropped'),
  smokeRuns: 1,
}

export const cutOffHalfOpen = cutOff(
  'cut-off-half-open',
  'the active replica hears Postgres and is not heard',
  'half_open',
)
