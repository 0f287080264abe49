import type { Staging } from '../ground.ts'

export const noActiveReplica: Staging = (ground) => {
  return {
    'all is well': () => ground.startPair(),
    'no replica runs, and two variables are wrong': async () => {
      await Promise.all([ground.stop('one', 'SIGKILL'), ground.stop('two', 'SIGKILL')])
      ground.env.DATABASE_URL = ''
      ground.env.UNDERSTUDY_PORT = '99999'
    },
    'Postgres is stopped': async () => {
      ground.env.DATABASE_URL = ground.databaseUrl
      delete ground.env.UNDERSTUDY_PORT
      const { api } = await ground.start('two')
      await api.untilActive()
      await ground.postgres.stop()
      await ground.until(async () => (await api.get('/health/active')).status === 503)
      await ground.replica('two').log.wait('the database does not answer')
    },
    'a second process has the name of the first': async () => {
      await ground.postgres.start()
      await ground.replica('two').api.untilReady()
      const { log } = ground.launch('one', { env: { UNDERSTUDY_NAME: 'two' } })
      await log.wait('self-test: this replica takes no part')
      ground.lookAt('one')
    },
    'the schema is that of an older build': async () => {
      await ground.stop('one', 'SIGKILL')
      ground.lookAt('two')
      await ground.sql('DELETE FROM migrations WHERE version = 3')
      await ground.sql('DROP TABLE audit')
      const { api } = ground.replica('two')
      await ground.until(async () => (await api.get('/health/ready')).status === 503)
    },
    'another program holds the lock': async () => {
      await ground.stop('two', 'SIGKILL')
      const foreign = await ground.session('nightly-report')
      await foreign.query('SELECT pg_advisory_lock(504946615666)')
      // It waits for a slice at a time: one that has just begun is not over when the runbook looks.
      await ground.start('two', { env: { UNDERSTUDY_LOCK_SLICE_MS: '2500' } })
      await ground.untilFound(
        `SELECT FROM pg_stat_activity
          WHERE application_name = 'understudy two lock' AND wait_event = 'advisory'
            AND query_start > clock_timestamp() - interval '500 ms'`,
      )
    },
    'somebody leads': () => ground.replica('two').api.untilActive(),
  }
}
