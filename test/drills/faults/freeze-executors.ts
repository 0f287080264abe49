import type { Drill } from '../drill.ts'
import { beginLongJobs, deployOf, sleepOf } from '../stage/long-jobs.ts'
import { until } from '../stage/until.ts'

/** Short leases, but no term is to end here, not even on a machine that has no time for a replica for some seconds. */
const patientLeases = {
  UNDERSTUDY_HEARTBEAT_MS: '1000',
  UNDERSTUDY_TRUST_WINDOW_MS: '5000',
  UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '6000',
  UNDERSTUDY_SELF_FENCE_MS: '12000',
  UNDERSTUDY_LEASE_TTL_MS: '22000',
}

/** Whenever the active stalls for a second, every lease begins anew. */
const untilLostMs = 300_000

/** So many that every executor holds some; so long that those who get them next still work on them when the
 *  first ones wake up and report. */
const long = { jobs: 48, ms: 12_000 }

export const freezeExecutors: Drill = {
  name: 'freeze-executors',
  title:
    'executors are frozen past their leases, and report when others hold their jobs; clocks are wrong',
  smokeRuns: 1,
  promotes: false,
  harmsExecutors: true,
  // The wall clocks of replicas decide nothing (invariant 8), least of all about leases.
  stage: { clocks: ['+600s', '+600s'], env: patientLeases },
  async run(stage) {
    const fleet = stage.cast.find('fleet-balanced')
    const late = () => stage.postgres.count('SELECT FROM late_reports')
    const jobs = Array.from({ length: long.jobs }, (_, n) =>
      n % 3 === 0 ? deployOf(long.ms) : sleepOf(long.ms),
    )
    const ids = await beginLongJobs(stage, jobs)
    const before = await late()
    await stage.fault(
      'SIGSTOP',
      fleet.name,
      () => fleet.kill('SIGSTOP'),
      async () => {
        const areGivenAgain = async () => {
          const again = await stage.postgres.count(
            `SELECT FROM jobs WHERE id = ANY($1) AND state = 'leased' AND lost_leases > 0`,
            [ids],
          )
          return again > 0 || undefined
        }
        await until('nobody else got the jobs', areGivenAgain, { patienceMs: untilLostMs })
        fleet.kill('SIGCONT')
      },
    )
    await until('nobody reported late', async () => (await late()) > before || undefined)
    await stage.untilWhole()
  },
}
