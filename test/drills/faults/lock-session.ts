import type { Drill } from '../drill.ts'
import { endLockSession } from './takeover.ts'

export const lockSession: Drill = {
  name: 'lock-session',
  title: "Postgres terminates the active replica's lock session",
  promotes: true,
  async run(stage) {
    const active = await stage.active()
    const term = await stage.postgres.term()
    await stage.fault('lock session terminated', active.name, () => endLockSession(stage))
    await stage.untilTermAfter(term)
    await stage.untilWhole()
  },
}
