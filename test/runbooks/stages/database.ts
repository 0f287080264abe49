import { setTimeout as sleep } from 'node:timers/promises'
import type { Staging } from '../ground.ts'

export const database: Staging = (ground) => {
  const submitting = new AbortController()
  return {
    'Postgres is stopped': async () => {
      await ground.startPair()
      await ground.postgres.stop()
      for (const name of ['one', 'two'] as const) {
        const { api, log } = ground.replica(name)
        await ground.until(async () => (await api.get('/health/ready')).status === 503)
        await log.wait('the database does not answer')
      }
    },
    'Postgres is there again': async () => {
      await ground.postgres.start()
      await ground.until(async () => {
        const { body } = await ground.replica('two').api.get('/v1/leader')
        // The term before counts as led for a while; the next one writes down its recovery at its end.
        return body.term > 1 && body.leader !== null && body.recovery.length > 0
      })
      for (const name of ['one', 'two'] as const) await ground.replica(name).api.untilReady()
    },
    'somebody holds a lock on jobs': async () => {
      const report = await ground.session('report')
      await report.query('BEGIN; LOCK TABLE jobs IN SHARE MODE')
      const { api } = ground.replica('two')
      const submit = async () => {
        while (!submitting.signal.aborted) {
          await api.post('/v1/jobs', { kind: 'frame' })
          await sleep(5)
        }
      }
      submit().catch(() => undefined)
      await ground.until(async () => {
        const { body } = await api.get('/metrics')
        return body.includes('understudy_http_problems_total{code="database_unavailable"}')
      })
      await ground.untilFound(
        `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'
          AND application_name = 'understudy two' AND query_start > clock_timestamp() - interval '300 ms'`,
      )
      ground.lookAt('two')
    },
    'the lock is gone': async () => {
      const { api } = ground.replica('two')
      await ground.until(async () => (await api.post('/v1/jobs', { kind: 'frame' })).status === 201)
      submitting.abort()
    },
  }
}
