import { Client } from '../../../src/sdk/index.ts'
import type { Drill } from '../drill.ts'

export const stepDown: Drill = {
  name: 'step-down',
  title: 'an operator makes the active replica step down',
  promotes: true,
  async run(stage) {
    const active = await stage.active()
    const term = await stage.postgres.term()
    const client = new Client({ urls: [active.url], token: stage.token })
    await stage.fault('step-down', active.name, () => client.stepDown({ term, reason: 'a drill' }))
    await client.close()
    await stage.untilTermAfter(term)
    await stage.untilWhole()
  },
}
