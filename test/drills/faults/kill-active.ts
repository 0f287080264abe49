import type { Drill } from '../drill.ts'

export const killActive: Drill = {
  name: 'kill-active',
  title: 'kill -9 of the active replica',
  smokeRuns: 1,
  figureRuns: 30,
  promotes: true,
  async run(stage) {
    const active = await stage.active()
    await stage.fault('kill -9', active.name, () => active.kill('SIGKILL'))
    await active.exited()
    await stage.untilWorkFlows()
    active.start()
    await stage.untilWhole()
  },
}
