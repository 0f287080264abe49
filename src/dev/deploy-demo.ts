import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Job } from '../contract/jobs.ts'
import { Executor, type JobContext } from '../sdk/index.ts'
import { DemoCluster, type ReplicaLine } from './demo-cluster.ts'
import { type Play, perform, say, until } from './demo-run.ts'
import type { StoryLine } from './demo-story.ts'
import {
  type DeployOutcome,
  deployLines,
  faultsOf,
  readRelease,
  type Trouble,
  toOutcome,
} from './deploy-outcome.ts'
import { type Onlooker, Outside, releaseOf, workOn } from './deploy-stages.ts'

/** How long the deploy goes on in its section after the cancel was answered. */
const restOfSectionMs = 500
const lookMs = 100
/** What the replicas log of a failover, and how it is told. */
const logged: [start: string, what: (line: ReplicaLine) => string][] = [
  ['lock granted', ({ replica }) => `${replica} was granted the lock`],
  ['promoted', ({ replica, term }) => `${replica} leads, term ${term}`],
  ['active', ({ replica }) => `${replica} has recovered; the gate is open`],
]

/** Two releases through build, test, approve and deploy. During the first deploy the active replica is killed -9, and
 *  the check after it fails once; the second is cancelled in the middle of its deploy. Returns 0 only if each was
 *  deployed exactly once, and everything that is told did happen. */
export async function runDeployDemo(options: { json?: boolean }): Promise<number> {
  return await perform((folder) => new DeployDemo(folder), deployLines, options.json)
}

class DeployDemo implements Play<DeployOutcome>, Onlooker {
  readonly #cluster: DemoCluster
  readonly #outside: Outside
  readonly #draining = new AbortController()
  readonly #stopping = new AbortController()
  readonly #told: { at: number; what: string }[] = []
  readonly #trouble: Trouble = {}
  #working: Promise<void> | undefined

  constructor(folder: string) {
    this.#cluster = new DemoCluster(folder)
    this.#outside = new Outside(join(folder, 'outside.jsonl'))
  }

  async stop(): Promise<void> {
    // Nobody may be left to take its reports.
    this.#stopping.abort()
    await this.#working?.catch(() => undefined)
    await this.#cluster.stop()
  }

  remove(): Promise<void> {
    return this.#cluster.remove()
  }

  async play(aborted: AbortSignal): Promise<DeployOutcome> {
    say('starting Postgres, two replicas and an executor')
    await this.#cluster.start(0)
    this.#working = this.#work()
    // Its failure is that of whatever waits for it.
    this.#working.catch(() => undefined)
    say('releasing v1: the active is killed when it is deployed, and nobody has recorded that')
    const first = await this.#release('v1', 1, aborted)
    say('releasing v2: it is cancelled in the middle of its deploy')
    const second = await this.#release('v2', 0, aborted)
    this.#draining.abort()
    await this.#working
    return await this.#judge(first, second)
  }

  tell(what: string, at = Date.now()): void {
    this.#told.push({ at, what })
  }

  /** The worst moment for each. */
  async hasActed({ job }: JobContext, version: string): Promise<void> {
    this.tell(`${version}: it is deployed; the ledger does not know yet`)
    // Were it done twice, there would be no replica left to tell.
    if (version === 'v2') await this.#cancel(job.job_id, version)
    else if (this.#trouble.killedAt === undefined) await this.#killActive()
  }

  async #killActive(): Promise<void> {
    const active = await this.#cluster.findActive()
    const killedAt = Date.now()
    this.#trouble.killedAt = killedAt
    active.kill('SIGKILL')
    this.tell(`kill -9: ${active.name}, the active replica`, killedAt)
    await active.exited
  }

  async #cancel(id: string, version: string): Promise<void> {
    const { client } = this.#cluster
    const job = await client.cancelJob(id, { reason: `${version} is faulty` })
    const { reasons } = await client.explainJob(id)
    this.#trouble.cancelled = job
    this.#trouble.explained = reasons[0]?.code
    this.tell(
      `${version}: a cancel is asked for; the job is still ${job.state}: ${reasons[0]?.detail}`,
    )
    await sleep(restOfSectionMs)
    this.#trouble.sectionEndedAt = Date.now()
    this.tell(`${version}: the section ends`)
  }

  #work(): Promise<void> {
    const executor = new Executor({
      ...this.#cluster.access,
      executorId: 'deployer',
      handler: (context) => workOn(context, this.#outside, this),
      onEvent: (event) => {
        if (event.type === 'told_to_stop')
          this.tell(`the executor is told to stop: ${event.reason}`)
      },
    })
    return executor.run(this.#draining.signal, this.#stopping.signal)
  }

  /** From submit to its end; the approval is ours. */
  async #release(version: string, checkFails: number, aborted: AbortSignal): Promise<Job> {
    const { client } = this.#cluster
    const { job } = await client.submit(releaseOf(version, checkFails))
    this.tell(`${version}: submitted`)
    let seen = job
    const look = async (isSo: () => boolean) => {
      seen = await client.waitForJob(job.id, lookMs)
      return isSo()
    }
    const where = () => `${version} is ${seen.state} in ${seen.stage}`
    await until(() => look(() => seen.waiting_for === 'decision'), where, aborted)
    await client.transitions.move(job.id, {
      expected_stage: 'approve',
      expected_move: seen.move,
      to: 'deploy',
      reason: 'looks good',
    })
    this.tell(`${version}: approved`)
    await until(() => look(() => seen.finished_at !== null), where, aborted)
    this.#told.push({ at: Date.parse(seen.finished_at ?? ''), what: `${version}: ${seen.state}` })
    return seen
  }

  async #judge(first: Job, second: Job): Promise<DeployOutcome> {
    const { client } = this.#cluster
    const releases = [
      await readRelease(client, this.#outside, 'v1', first.id),
      await readRelease(client, this.#outside, 'v2', second.id),
    ] as const
    const { terms } = await client.getLeader()
    const promotedAt = terms.map(({ since }) => Date.parse(since)).sort((a, b) => a - b)
    const faults = faultsOf(...releases, this.#trouble, promotedAt)
    for (const { version, effects } of releases) {
      for (const { settled_at } of effects.filter(({ state }) => state === 'committed')) {
        const at = Date.parse(settled_at ?? '')
        this.#told.push({ at, what: `${version}: the ledger records that it was done` })
      }
    }
    return toOutcome([...releases], faults, terms.length - 1, this.#tellStory())
  }

  #tellStory(): StoryLine[] {
    const { killedAt = Number.POSITIVE_INFINITY } = this.#trouble
    const failover = logged.flatMap(([start, what]) => {
      const line = this.#cluster.lines.find(
        ({ time, msg }) => Date.parse(time) >= killedAt - 1 && msg.startsWith(start),
      )
      return line ? [{ at: Date.parse(line.time), what: what(line) }] : []
    })
    const told = [...this.#told, ...failover].sort((a, b) => a.at - b.at)
    const zero = told[0]?.at ?? 0
    return told.map(({ at, what }) => ({ ms: at - zero, what }))
  }
}
