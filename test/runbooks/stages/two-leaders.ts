import { onTestFinished } from 'vitest'
import type { Staging } from '../ground.ts'
import { migrated } from '../postgres.ts'

/** As in production: how long a frozen leader is believed is what this is about. */
const env = { UNDERSTUDY_TRUST_WINDOW_MS: '2000', UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '3000' }

export const twoLeaders: Staging = (ground) => ({
  'the active is frozen': async () => {
    await ground.startPair({ env })
    ground.replica('one').process.kill('SIGSTOP')
    await ground.replica('two').api.untilActive()
  },
  'it goes on': async () => {
    const { process, log } = ground.replica('one')
    process.kill('SIGCONT')
    await log.wait('leadership ended')
    await ground.untilFound("SELECT FROM terms WHERE term = 1 AND end_reason = 'trust_expired'")
    ground.lookAt('one')
  },
  'the two have two databases': async () => {
    await ground.stop('one', 'SIGKILL')
    const other = `${ground.database}_other`
    await ground.postgres.createDatabase(other, migrated)
    onTestFinished(() => ground.postgres.dropDatabase(other))
    const { api } = ground.launch('one', {
      env: { DATABASE_URL: ground.postgres.url(other) },
    })
    await api.untilActive()
    await api.submit({ kind: 'frame' })
  },
  'one has the database of two': async () => {
    await ground.stop('one')
    await ground.start('one')
  },
})
