import { setTimeout as sleep } from 'node:timers/promises'
import type { Drill } from '../drill.ts'
import type { HistoryEvent } from '../history/events.ts'
import { type EffectStep, indexHistory, type Step } from '../history/indexed.ts'
import { doneOps, verdictsOf } from '../history/requests.ts'
import { defaultOptions } from '../history/violation.ts'
import type { Actor } from '../stage/actors.ts'
import { Dice } from '../stage/dice.ts'
import { releaseKind } from '../stage/release.ts'
import { shortLeases } from '../stage/short-leases.ts'
import type { Stage } from '../stage/stage.ts'
import { together } from '../stage/together.ts'
import { answers, until } from '../stage/until.ts'

/** How long anybody lives from when they are heard, and is gone from when they are killed. */
const executor = { livesMs: [300, 10_000], isGoneMs: [50, 2_000] } as const
const replica = { livesMs: [2_000, 10_000], isGoneMs: [50, 3_000] } as const
/** Now and then an executor stays away until its leases have run out. */
const longGone = { share: 0.1, ms: 21_000 }
/** How often a replica is not waited for before the next one goes: then there may be none. */
const impatience = 0.25
const aimedAtActive = 0.7

export const randomKills: Drill = {
  name: 'random-kills',
  title:
    'executors and replicas are killed at random, while releases go through stages, effects and cancels',
  isOnce: true,
  promotes: true,
  harmsExecutors: true,
  // The load that it is about are releases, and processes that start: those leave little room for more.
  stage: { solos: 4, workMs: 250, ratePerSecond: 5, env: shortLeases },
  async run(stage, { minutes, seed, note }) {
    note(`seed ${seed}, ${minutes} min`)
    const last = performance.now() + minutes * 60_000
    const solos = stage.cast.fleets.filter(({ name }) => name.startsWith('solo-'))
    const [replicas = 0, ...executors] = await together([
      (ending) => killReplicas(stage, { dice: new Dice(seed), last, ending }),
      ...solos.map((solo, n) => (ending: AbortSignal) => {
        return killExecutor(stage, solo, { dice: new Dice(seed + n + 1), last, ending })
      }),
    ])
    const killed = executors.reduce((sum, kills) => sum + kills, 0)
    note(`${killed} executors and ${replicas} replicas were killed`)
    await stage.untilWhole()
  },
  describe,
  findFault: (events) => {
    const { inDoubt, waited, answered } = countsOf(events)
    return inDoubt > 0 && waited > 0 && answered > 0
  },
}

interface Killing {
  dice: Dice
  /** Nobody is killed after this, by the monotonic clock. */
  last: number
  /** Another of these has failed. */
  ending: AbortSignal
}

async function killReplicas(stage: Stage, { dice, last, ending }: Killing): Promise<number> {
  const pause = (ms: number) => sleep(ms, undefined, { signal: ending })
  for (let kills = 0; ; kills += 1) {
    await pause(dice.between(...replica.livesMs))
    if (performance.now() > last) return kills
    const isAimed = dice.comesUp(aimedAtActive)
    const victim = isAimed ? await stage.active(ending) : dice.pick(stage.replicas)
    await stage.fault('kill -9', victim.name, () => victim.kill('SIGKILL'))
    await victim.exited()
    await pause(dice.between(...replica.isGoneMs))
    victim.start()
    if (dice.comesUp(impatience)) continue
    const isReady = async () => (await answers(`${victim.url}/health/ready`)) || undefined
    await until(`${victim.name} did not become ready`, isReady, { signal: ending })
  }
}

/** One after the other of its processes. */
async function killExecutor(
  stage: Stage,
  first: Actor,
  { dice, last, ending }: Killing,
): Promise<number> {
  const pause = (ms: number) => sleep(ms, undefined, { signal: ending })
  let solo = first
  for (let kills = 0; ; kills += 1) {
    await pause(dice.between(...executor.livesMs))
    if (performance.now() > last) return kills
    const { name } = solo
    await stage.fault('kill -9', name, () => stage.cast.dismiss(solo))
    const isLong = dice.comesUp(longGone.share)
    await pause(isLong ? longGone.ms : dice.between(...executor.isGoneMs))
    const since = await stage.postgres.now()
    solo = stage.cast.replace(solo)
    const isHeard = async () => {
      const heard = await stage.postgres.count(
        'SELECT FROM executors WHERE executor_id = $1 AND heartbeat_at > $2',
        [first.name, since],
      )
      return heard > 0 || undefined
    }
    await until(`the successor of ${name} was not heard`, isHeard, { signal: ending })
  }
}

function describe(events: HistoryEvent[]): string[] {
  const counts = countsOf(events)
  const { succeeded, failed, cancelled } = counts
  return [
    `${counts.releases} releases, ${counts.retries} of them retries: ${succeeded} succeeded, ${cancelled} cancelled, ${failed} failed (${counts.spent} by a sixth lost lease)`,
    `${counts.acts} acts outside; ledger: ${counts.committed} committed, ${counts.inDoubt} in doubt, of which ${counts.held} waited for an operator`,
    `${counts.asked} cancels of what was leased, ${counts.waited} of them in a critical section; ${counts.told} were told by a heartbeat, ${counts.answered} were answered`,
  ]
}

/** What a run came across: one in which nothing was in doubt proves nothing. */
function countsOf(events: HistoryEvent[]) {
  const { jobs, commits, acts, ops } = indexHistory(events)
  const releases = [...jobs.values()].filter(isRelease)
  const ended = (state: string) =>
    releases.filter((steps) => steps.at(-1)?.after?.state === state).length
  const steps = releases.flat()
  const effects = commits.flatMap((commit) => commit.effects)
  const became = (state: string) => effects.filter((step) => becomes(step, state)).length
  const asked = steps.filter(isAskedFor)
  return {
    releases: releases.length,
    retries: releases.filter(([first]) => first?.after?.retryOf).length,
    succeeded: ended('succeeded'),
    failed: ended('failed'),
    cancelled: ended('cancelled'),
    spent: releases.filter((steps) => {
      const last = steps.at(-1)?.after
      return last?.state === 'failed' && last.lostLeases > defaultOptions.lostLeaseBudget
    }).length,
    acts: acts.length,
    committed: became('committed'),
    inDoubt: became('in_doubt'),
    held: steps.filter(({ before, after }) => {
      return after?.waitingFor === 'effect' && before?.waitingFor !== 'effect'
    }).length,
    asked: asked.length,
    waited: asked.filter(({ after }) => after?.criticalFence === after?.fence).length,
    told: steps.filter(isTold).length,
    answered: doneOps(ops, 'report')
      .flatMap((op) => [...verdictsOf(op)])
      .filter(({ jobId, outcome, status }) => {
        return outcome === 'cancelled' && status === 'accepted' && isRelease(jobs.get(jobId))
      }).length,
  }
}

function isRelease([first]: Step[] = []): boolean {
  return first?.after?.kind === releaseKind
}

function becomes({ before, after }: EffectStep, state: string): boolean {
  return before !== undefined && before.state !== state && after.state === state
}

/** Somebody asks for the end of what is leased. */
function isAskedFor({ before, after }: Step): boolean {
  return (
    before?.cancelRequestedAt === '' && after?.state === 'leased' && after.cancelRequestedAt !== ''
  )
}

/** By a heartbeat; the end of a section tells, too, and leaves no mark. */
function isTold({ before, after }: Step): boolean {
  return before?.cancelToldAt === '' && after !== undefined && after.cancelToldAt !== ''
}
