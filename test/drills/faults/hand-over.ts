import type { Drill } from '../drill.ts'

export const handOver: Drill = {
  name: 'hand-over',
  title: 'SIGTERM to the active replica, which hands over',
  smokeRuns: 1,
  figureRuns: 30,
  promotes: true,
  async run(stage) {
    const active = await stage.active()
    await stage.fault('SIGTERM', active.name, () => active.kill('SIGTERM'))
    const code = await active.exited()
    if (code !== 0) throw new Error(`${active.name} ended with ${code} after SIGTERM`)
    await stage.untilWorkFlows()
    active.start()
    await stage.untilWhole()
  },
}
