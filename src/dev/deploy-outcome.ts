import type { Effect } from '../contract/effects.ts'
import type { Job } from '../contract/jobs.ts'
import type { Client } from '../sdk/index.ts'
import type { StoryLine } from './demo-story.ts'
import type { Outside } from './deploy-stages.ts'

/** What became of one release: by the API, the ledger and the file outside. */
export interface Release {
  version: string
  job: Pick<Job, 'id' | 'state' | 'stage' | 'move' | 'attempt' | 'finished_at'>
  effects: Pick<Effect, 'key' | 'state' | 'effect_token' | 'begun_at' | 'settled_at'>[]
  /** One for each time that it was deployed. */
  tokens: string[]
}

/** What was done to the releases, by the wall clock that all processes of this machine share. What is absent has not
 *  come to pass. */
export interface Trouble {
  /** The active was killed: after the deploy of the first, before the ledger heard of it. */
  killedAt?: number
  /** The second, as the cancel was answered in its critical section, and why it waits. */
  cancelled?: Pick<Job, 'state' | 'cancel_requested_at' | 'critical_until'>
  explained?: string | undefined
  /** When the code of that section ended. */
  sectionEndedAt?: number
}

export interface DeployOutcome {
  isGood: boolean
  /** What is not as it should be; none: []. */
  faults: string[]
  promotions: number
  releases: {
    version: string
    job_id: string
    state: string
    stage: string | null
    attempt: number
    deployed: number
    ledger: string
  }[]
  story: StoryLine[]
}

export async function readRelease(
  client: Client,
  outside: Outside,
  version: string,
  id: string,
): Promise<Release> {
  const job = await client.getJob(id)
  const { effects } = await client.listEffects(id)
  return { version, job, effects, tokens: await outside.tokensOf(version) }
}

/** Everything that must hold after both, and does not. `promotedAt` tells when each later term began. */
export function faultsOf(
  first: Release,
  second: Release,
  trouble: Trouble,
  promotedAt: number[],
): string[] {
  const never = Number.POSITIVE_INFINITY
  const { killedAt = never, cancelled, explained, sectionEndedAt = never } = trouble
  const promoted = promotedAt.find((at) => at >= killedAt)
  const [effect] = first.effects
  const begunAt = Date.parse(effect?.begun_at ?? '')
  const settledAt = Date.parse(effect?.settled_at ?? '')
  const endedAt = Date.parse(second.job.finished_at ?? '')
  const claims: [claim: string, holds: boolean][] = [
    ...onceOnly(first),
    ...onceOnly(second),
    [`${first.version} ended ${first.job.state}`, first.job.state === 'succeeded'],
    ['nobody was promoted after the kill', promoted !== undefined],
    [
      `the deploy of ${first.version} was not begun before the kill and recorded under the next term`,
      begunAt <= killedAt && settledAt >= (promoted ?? never),
    ],
    [`${first.version} was not tried again`, first.job.attempt === 2],
    [`${second.version} ended ${second.job.state}`, second.job.state === 'cancelled'],
    [`${second.version} was cancelled in ${second.job.stage}`, second.job.stage === 'deploy'],
    [
      `the cancel was not deferred: ${cancelled?.state}, ${explained}`,
      cancelled?.state === 'leased' &&
        cancelled.cancel_requested_at !== null &&
        cancelled.critical_until !== null &&
        explained === 'cancel_deferred',
    ],
    [`${second.version} was cancelled before its section ended`, endedAt >= sectionEndedAt],
  ]
  return claims.filter(([, holds]) => !holds).map(([claim]) => claim)
}

function onceOnly({ version, effects, tokens }: Release): [claim: string, holds: boolean][] {
  const [effect] = effects
  return [
    [`${version} was deployed ${tokens.length} times`, tokens.length === 1],
    [`the ledger has ${effects.length} acts of ${version}`, effects.length === 1],
    [`the ledger says that ${version} is ${effect?.state}`, effect?.state === 'committed'],
    [
      `${version} was deployed under another token than the ledger's`,
      tokens.every((token) => token === effect?.effect_token),
    ],
  ]
}

export function toOutcome(
  releases: Release[],
  faults: string[],
  promotions: number,
  story: StoryLine[],
): DeployOutcome {
  return {
    isGood: faults.length === 0,
    faults,
    promotions,
    releases: releases.map(({ version, job, effects, tokens }) => ({
      version,
      job_id: job.id,
      state: job.state,
      stage: job.stage,
      attempt: job.attempt,
      deployed: tokens.length,
      ledger: effects.map(({ key, state }) => `${key} ${state}`).join(', ') || 'empty',
    })),
    story,
  }
}

export function deployLines({ releases, story, faults, promotions }: DeployOutcome): string[] {
  return [
    '',
    'the two releases, in ms',
    ...story.map(({ ms, what }) => `  ${String(ms).padStart(6)}  ${what}`),
    '',
    ...releases.map(
      ({ version, state, stage, attempt, deployed, ledger }) =>
        `  ${version}  ${state.padEnd(9)}  in ${stage}, attempt ${attempt}; ledger: ${ledger}; lines outside: ${deployed}`,
    ),
    `  promotions: ${promotions}`,
    '',
    faults.length === 0
      ? 'good: each was deployed exactly once, through a failover, a second attempt and a cancel'
      : `NOT good: ${faults.join('; ')}`,
  ]
}
