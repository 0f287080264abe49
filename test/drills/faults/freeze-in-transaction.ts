import { setTimeout as sleep } from 'node:timers/promises'
import type { Drill } from '../drill.ts'
import type { Replica } from '../stage/replica.ts'
import type { Stage } from '../stage/stage.ts'
import { until } from '../stage/until.ts'

export const freezeInTransaction: Drill = {
  name: 'freeze-in-transaction',
  title: 'SIGSTOP of the active replica while a writing transaction holds the fence',
  smokeRuns: 1,
  promotes: true,
  // Postgres ends a transaction that idles for 3 s, which would free the fence: the successor has to come first.
  stage: {
    env: { UNDERSTUDY_TRUST_WINDOW_MS: '1100', UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '2000' },
  },
  async run(stage) {
    for (let tries = 0; tries < mostTries; tries += 1) {
      if (await standsInTheWay(stage)) return
    }
    throw new Error(
      `in ${mostTries} tries no transaction was frozen that stood in the way of a promotion`,
    )
  },
}

const mostTries = 20

/** Freezes the active, until another has taken over. On a busy machine Postgres may end the transaction before that, or
 *  the term may be over before the freeze: then it stood in nobody's way. */
async function standsInTheWay(stage: Stage): Promise<boolean> {
  const active = await stage.active()
  const successor = stage.replicas.find((replica) => replica !== active)
  if (!successor) throw new Error('there is nobody to take over')
  const since = Date.now()
  const hasSaid = (start: string) =>
    successor.lines.some(({ wall, msg }) => wall >= since && msg.startsWith(start))
  const isFrozen = await freezeHoldingFence(stage, active, () => hasSaid('promoted'))
  if (!isFrozen) {
    await stage.untilWhole()
    return false
  }
  await stage.fault(
    'SIGSTOP in a transaction',
    active.name,
    () => undefined,
    async () => {
      await until(
        `${successor.name} was not promoted`,
        async () => hasSaid('promoted') || undefined,
      )
      await stage.untilWorkFlows()
      active.kill('SIGCONT')
    },
  )
  await stage.untilWhole()
  return hasSaid('ended sessions of the term before')
}

/** Stops it wherever it happens to be, and looks, until it happens to be within a transaction. False: its term was
 *  over first. */
function freezeHoldingFence(
  stage: Stage,
  active: Replica,
  isOver: () => boolean,
): Promise<boolean> {
  return until('no transaction was caught holding the fence', async () => {
    if (isOver()) return false
    active.kill('SIGSTOP')
    // Whatever Postgres had been sent is carried out by now; what it still holds it will go on holding.
    await sleep(20)
    const holding = await stage.postgres.count(
      `SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND classid = 1970168947 AND objid = 1 AND objsubid = 2
          AND granted AND state = 'idle in transaction' AND application_name = $1`,
      [`understudy ${active.name}`],
    )
    if (holding > 0) return true
    active.kill('SIGCONT')
    await sleep(Math.random() * 10)
    return undefined
  })
}
