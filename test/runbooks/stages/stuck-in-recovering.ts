import type { Staging } from '../ground.ts'

export const stuckInRecovering: Staging = (ground) => ({
  'recovery waits for a lock on executors': async () => {
    await ground.startPair()
    const psql = await ground.session('psql')
    await psql.query('BEGIN; LOCK TABLE executors IN ACCESS EXCLUSIVE MODE')
    await ground.stop('one', 'SIGKILL')
    await ground.replica('two').log.wait('recovery failed')
  },
  'the lock is gone': () => ground.replica('two').api.untilActive(),
})
