import pg from 'pg'
import type { Drill } from '../drill.ts'
import { type Replica, stateOf } from '../stage/replica.ts'
import type { Stage } from '../stage/stage.ts'
import { until } from '../stage/until.ts'

export const killInRecovery: Drill = {
  name: 'kill-in-recovery',
  title: 'kill -9 of the successor in the middle of its recovery',
  smokeRuns: 1,
  promotes: true,
  async run(stage) {
    const [active, successor] = await holdRecovery(stage)
    await stage.fault('kill -9 in recovery', successor.name, () => successor.kill('SIGKILL'))
    await successor.exited()
    await release(stage)
    active.start()
    successor.start()
    await stage.untilWhole()
  },
}

export const postgresInRecovery: Drill = {
  name: 'postgres-in-recovery',
  title: 'Postgres is restarted with -m immediate in the middle of a recovery',
  promotes: true,
  async run(stage) {
    const [active] = await holdRecovery(stage)
    await stage.fault(
      'SIGQUIT in recovery',
      'postgres',
      () => stage.postgres.crash('SIGQUIT'),
      () => stage.postgres.startAgain(),
    )
    active.start()
    await stage.untilWhole()
  },
}

const holder = 'drill-holder'

/** Kills the active, and keeps its successor in the middle of its recovery by a lock on what that reads. */
async function holdRecovery(stage: Stage): Promise<[active: Replica, successor: Replica]> {
  const active = await stage.active()
  const client = new pg.Client({
    connectionString: stage.postgres.adminUrl,
    application_name: holder,
  })
  // It ends with Postgres, or by `release`.
  client.on('error', () => undefined)
  await client.connect()
  // Before the fault: a recovery takes milliseconds, and would be over before a lock that is asked for after it.
  await client.query('BEGIN; LOCK TABLE executors IN ACCESS EXCLUSIVE MODE')
  await stage.fault('kill -9', active.name, () => active.kill('SIGKILL'))
  await active.exited()
  const successor = stage.replicas.find((replica) => replica !== active)
  if (!successor) throw new Error('there is nobody to take over')
  await until('no recovery was caught', async () => {
    const waiting = await stage.postgres.count(
      `SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE relation = 'executors'::regclass AND NOT granted AND application_name = $1`,
      [`understudy ${successor.name}`],
    )
    return (waiting > 0 && (await stateOf(successor)) === 'recovering') || undefined
  })
  return [active, successor]
}

async function release(stage: Stage): Promise<void> {
  await stage.postgres.run(
    stage.postgres.adminUrl,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '${holder}'`,
  )
}
