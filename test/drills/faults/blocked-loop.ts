import type { Drill } from '../drill.ts'

const preload = new URL('../stage/block-loop.ts', import.meta.url)

export const blockedLoop: Drill = {
  name: 'blocked-loop',
  title: "the active replica's event loop is blocked for 6 s",
  promotes: true,
  stage: { env: { NODE_OPTIONS: `--import=${preload.href}` } },
  async run(stage) {
    const active = await stage.active()
    const since = Date.now()
    await stage.fault(
      'event loop blocked',
      active.name,
      () => active.kill('SIGUSR2'),
      async () => {
        await stage.untilWorkFlows()
        await active.said('the loop was blocked', since)
      },
    )
    await stage.untilWhole()
  },
}
