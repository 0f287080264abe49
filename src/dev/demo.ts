import { setTimeout as sleep } from 'node:timers/promises'
import { Presets, SingleBar } from 'cli-progress'
import { DemoCluster } from './demo-cluster.ts'
import { listFiles } from './demo-files.ts'
import { type FleetEvent, gapBefore } from './demo-fleet.ts'
import { type Outcome, outcomeLines, verify } from './demo-outcome.ts'
import { type Play, perform, say, until } from './demo-run.ts'
import { type Fault, servesAgainAt, tellStory } from './demo-story.ts'

export interface DemoOptions {
  dir: string
  executors: number
  json?: boolean
}

const mostFiles = 5_000
const jobsPerCall = 500
const faultAtShare = 0.45
/** A supervisor would start a killed executor again about so soon. */
const restartMs = 500
const lookMs = 100

/** One job per file, two replicas, a fleet; midway the active replica and one executor are killed -9.
 *  Returns 0 only if nothing was wrong, lost or accepted twice, and a promotion really happened. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const files = await listFiles(options.dir, mostFiles)
  const create = (folder: string) => new Demo(folder, files, options.executors)
  return await perform(create, outcomeLines, options.json)
}

class Demo implements Play<Outcome> {
  readonly #files: string[]
  readonly #executors: number
  readonly #cluster: DemoCluster
  /** How often each job's success was accepted, as its executors were told. */
  readonly #accepted = new Map<string, number>()
  readonly #bar = new SingleBar(
    { format: '  {bar} {value}/{total} jobs  {note}', hideCursor: true, noTTYOutput: true },
    Presets.shades_classic,
  )

  constructor(folder: string, files: string[], executors: number) {
    this.#files = files
    this.#executors = executors
    this.#cluster = new DemoCluster(folder, (event) => this.#note(event))
  }

  stop(): Promise<void> {
    if (this.#bar.isActive) this.#bar.stop()
    return this.#cluster.stop()
  }

  remove(): Promise<void> {
    return this.#cluster.remove()
  }

  async play(aborted: AbortSignal): Promise<Outcome> {
    say(`starting Postgres, two replicas and ${this.#executors} executors`)
    await this.#cluster.start(this.#executors)
    say(`hashing ${this.#files.length} files`)
    this.#bar.start(this.#files.length, 0, { note: '' })
    const startedAt = performance.now()
    const [submitted, fault] = await Promise.all([this.#submit(), this.#breakMidway(aborted)])
    await this.#until(() => this.#isNothingOpen(), aborted)
    this.#bar.update(submitted.size)
    const seconds = (performance.now() - startedAt) / 1_000
    this.#bar.stop()
    const counted = await verify(this.#cluster.databaseUrl, submitted)
    return this.#judge(fault, submitted, counted, seconds)
  }

  async #submit(): Promise<Map<string, string>> {
    const submitted = new Map<string, string>()
    for (let at = 0; at < this.#files.length; at += jobsPerCall) {
      const files = this.#files.slice(at, at + jobsPerCall)
      const jobs = files.map((file) => ({ kind: 'sha256', payload: { file } }))
      const { results } = await this.#cluster.client.submitBatch(jobs)
      for (const [index, { id }] of results.entries()) submitted.set(id, files[index] as string)
    }
    return submitted
  }

  /** Kills the active replica and an executor at once; a new process of the same executor follows. */
  async #breakMidway(aborted: AbortSignal): Promise<Fault> {
    const { executors } = this.#cluster
    const isDue = async () => this.#accepted.size >= this.#files.length * faultAtShare
    await this.#until(isDue, aborted)
    const active = await this.#cluster.findActive()
    const executor = [...executors.values()][0]
    if (!executor) throw new Error('there is no executor to kill')
    const fault = { at: Date.now(), replica: active.name, executor: executor.id }
    active.kill('SIGKILL')
    executor.kill('SIGKILL')
    this.#bar.update({ note: `killed ${fault.replica} and ${fault.executor}` })
    await sleep(restartMs)
    this.#cluster.startExecutor(executor.id)
    return fault
  }

  /** By what the replicas say: an executor that is killed takes what it was just told with it. */
  async #isNothingOpen(): Promise<boolean> {
    if (this.#accepted.size < this.#files.length) await sleep(lookMs)
    const { queues } = await this.#cluster.client.getStatus()
    return queues.every((queue) => queue.available + queue.scheduled + queue.leased === 0)
  }

  #until(isSo: () => Promise<boolean>, aborted: AbortSignal): Promise<void> {
    return until(isSo, () => `${this.#accepted.size} of ${this.#files.length} jobs done`, aborted)
  }

  #note(event: FleetEvent): void {
    if (event.type !== 'reported' || event.status === 'rejected') return
    const times = this.#accepted.get(event.jobId) ?? 0
    this.#accepted.set(event.jobId, times + (event.status === 'accepted' ? 1 : 0))
    this.#bar.update(this.#accepted.size)
  }

  #judge(
    fault: Fault,
    submitted: Map<string, string>,
    counted: Awaited<ReturnType<typeof verify>>,
    seconds: number,
  ): Outcome {
    const told = [...this.#accepted].filter(([, times]) => times > 1).map(([id]) => id)
    const acceptedTwice = new Set([...counted.acceptedTwice, ...told]).size
    const survivors = [...this.#cluster.executors.values()].filter(
      ({ id }) => id !== fault.executor,
    )
    const servedAt = servesAgainAt(this.#cluster.lines, fault) ?? fault.at
    const gaps = survivors
      .map(({ events }) => gapBefore(events, servedAt))
      .filter((gap) => gap !== undefined)
      .sort((a, b) => a - b)
    const { wrong, lost, leasesReclaimed, promotions } = counted
    return {
      isGood: wrong === 0 && lost === 0 && acceptedTwice === 0 && promotions >= 1,
      jobs: submitted.size,
      wrong,
      lost,
      accepted_twice: acceptedTwice,
      leases_reclaimed: leasesReclaimed,
      promotions,
      gap_ms: { median: gaps[Math.floor(gaps.length / 2)] ?? null, max: gaps.at(-1) ?? null },
      jobs_per_second: Math.round(submitted.size / seconds),
      story: tellStory(fault, this.#cluster.lines, survivors),
    }
  }
}
