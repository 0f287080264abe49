import { isOpenToWork as mayTakeWork, type Standing } from '../domain/executor-health.ts'
import { canServe } from '../domain/matching.ts'
import { AppError } from '../errors.ts'
import type { JobClass } from '../sql/classes.ts'
import type { StandingRow } from '../sql/executor-health.ts'
import type { RegisteredExecutor } from '../sql/executors.ts'
import { Batcher } from './batcher.ts'

/** Executors that serve the same queues with the same labels, and so the same classes. */
export class Profile {
  readonly key: string
  readonly queues: ReadonlySet<string>
  readonly labels: Readonly<Record<string, string>>
  readonly #known: () => ReadonlyMap<number, JobClass>
  #classIds: Set<number> | undefined
  /** How many executors of the directory have it. */
  members = 0

  constructor(
    key: string,
    executor: RegisteredExecutor,
    known: () => ReadonlyMap<number, JobClass>,
  ) {
    this.key = key
    this.queues = new Set(executor.queues)
    this.labels = executor.labels
    this.#known = known
  }

  /** Worked out when somebody first polls: a fleet that only reports and beats costs nothing. */
  get classIds(): ReadonlySet<number> {
    if (!this.#classIds) {
      this.#classIds = new Set()
      for (const jobClass of this.#known().values()) this.add(jobClass)
    }
    return this.#classIds
  }

  add(jobClass: JobClass): void {
    if (this.#classIds && canServe(this, jobClass)) this.#classIds.add(jobClass.class_id)
  }
}

/** One executor under its current epoch. A new registration makes a new entry. */
export interface DirectoryEntry {
  readonly executorId: string
  readonly epoch: number
  readonly profile: Profile
  /** The latest poll that brought work: its answer may have been lost. */
  lastPollId: string | null
  /** The highest `seq` of its heartbeats; -1: none came with one. */
  heardSeq: number
  standing: Standing
  /** It is degraded, and held a job when it was last looked: no claim is worth while until that ends. */
  isBusy: boolean
}

/** Whether a claim could give it anything now. */
export function isOpenToWork({ standing, isBusy }: DirectoryEntry): boolean {
  return mayTakeWork(standing, isBusy)
}

export interface ExecutorDirectoryOptions {
  /** Executors as the database has them; those that it has not are missing. */
  look(executorIds: string[]): Promise<RegisteredExecutor[]>
  classes(): ReadonlyMap<number, JobClass>
}

/** Epochs, queues and labels in memory, so that an empty poll costs no query. Only the active replica
 *  registers executors, so what it loaded in recovery and added since is current (invariant 1). Those that
 *  were long silent when the term began are looked up when they are first met. */
export class ExecutorDirectory {
  readonly #o: ExecutorDirectoryOptions
  readonly #looks: Batcher<string, { found: RegisteredExecutor | undefined }>
  #entries = new Map<string, DirectoryEntry>()
  #profiles = new Map<string, Profile>()
  /** How much was told of executors that are not in memory: a look that is under way may be older. */
  #missed = 0
  #tellOvertaken: (executorId: string) => void = () => undefined

  constructor(options: ExecutorDirectoryOptions) {
    this.#o = options
    this.#looks = new Batcher({
      maxWeight: 1_000,
      maxWaiting: 20_000,
      flush: (executorIds) => this.#lookUp(executorIds),
    })
  }

  /** Whoever keeps an entry is told before another epoch, which a look found, takes its place. */
  onOvertaken(tell: (executorId: string) => void): void {
    this.#tellOvertaken = tell
  }

  load(executors: RegisteredExecutor[]): void {
    this.#entries = new Map()
    this.#profiles = new Map()
    for (const executor of executors) this.put(executor)
  }

  put(executor: RegisteredExecutor): DirectoryEntry {
    const { executor_id: executorId, epoch } = executor
    const key = profileKey(executor)
    const profile = this.#profiles.get(key) ?? new Profile(key, executor, this.#o.classes)
    profile.members += 1
    const before = this.#entries.get(executorId)
    this.#remove(executorId)
    this.#profiles.set(key, profile)
    const { health, is_draining, is_deregistered, changes } = executor
    const entry: DirectoryEntry = {
      executorId,
      epoch,
      profile,
      lastPollId: before?.epoch === epoch ? before.lastPollId : null,
      heardSeq: before?.epoch === epoch ? before.heardSeq : -1,
      standing: { health, is_draining, is_deregistered, changes },
      isBusy: false,
    }
    this.#entries.set(executorId, entry)
    return entry
  }

  /** What was committed of their standing. Words may cross on their way here: the later one counts. */
  learn(standings: StandingRow[]): void {
    for (const { executor_id, health, is_draining, is_deregistered, changes } of standings) {
      const entry = this.#entries.get(executor_id)
      if (!entry) this.#missed += 1
      else if (entry.standing.changes < changes) {
        entry.standing = { health, is_draining, is_deregistered, changes }
      }
    }
  }

  /** The database is asked again when it is next met; a look that is under way may be older than what made this
   *  doubtful. */
  forget(executorId: string): void {
    this.#missed += 1
    this.#remove(executorId)
  }

  #remove(executorId: string): void {
    const profile = this.#entries.get(executorId)?.profile
    this.#entries.delete(executorId)
    if (!profile) return
    profile.members -= 1
    if (profile.members === 0) this.#profiles.delete(profile.key)
  }

  /** A class that was just learned joins every profile that can serve it. */
  addClass(jobClass: JobClass): void {
    for (const profile of this.#profiles.values()) profile.add(jobClass)
  }

  find(executorId: string): DirectoryEntry | undefined {
    return this.#entries.get(executorId)
  }

  /** Throws not_found, or stale_epoch for anything but the current epoch. */
  async get(executorId: string, epoch: number): Promise<DirectoryEntry> {
    const entry = await this.#look(executorId, epoch)
    if (!entry) throw new AppError('not_found', `no executor ${executorId} is registered`)
    if (entry.epoch !== epoch || entry.standing.is_deregistered) throw staleEpoch(executorId, epoch)
    return entry
  }

  /** To be asked after each wait: meanwhile it may have registered anew, or been forgotten. */
  current(executorId: string, epoch: number): DirectoryEntry {
    const entry = this.#entries.get(executorId)
    if (!entry) throw new AppError('database_unavailable', `${executorId} is to be looked up again`)
    if (entry.epoch !== epoch || entry.standing.is_deregistered) throw staleEpoch(executorId, epoch)
    return entry
  }

  /** Those that it registered for; none if it is unknown. */
  async queuesOf(executorId: string): Promise<Iterable<string>> {
    return (await this.#look(executorId))?.profile.queues ?? []
  }

  /** Memory can lag behind a registration whose outcome was unknown here: what it has counts if it is as new as
   *  `epoch`. */
  async #look(executorId: string, epoch = 0): Promise<DirectoryEntry | undefined> {
    const known = this.#entries.get(executorId)
    if (known && known.epoch >= epoch) return known
    const { found } = await this.#looks.add(executorId)
    return this.#entries.get(executorId) ?? (found && this.put(found))
  }

  async #lookUp(executorIds: string[]) {
    for (;;) {
      const missed = this.#missed
      const rows = await this.#o.look([...new Set(executorIds)])
      if (missed !== this.#missed) continue
      for (const row of rows) this.#meet(row)
      const found = new Map(rows.map((row) => [row.executor_id, row]))
      return executorIds.map((executorId) => ({ found: found.get(executorId) }))
    }
  }

  /** A registration that overtakes the look knows better, and so does a word on a standing. */
  #meet(row: RegisteredExecutor): void {
    const known = this.#entries.get(row.executor_id)
    if (known && known.epoch >= row.epoch) return
    if (known) this.#tellOvertaken(row.executor_id)
    this.put(row)
    if (known) this.learn([{ executor_id: row.executor_id, ...known.standing }])
  }
}

function staleEpoch(executorId: string, epoch: number): AppError {
  return new AppError('stale_epoch', `epoch ${epoch} of ${executorId} is not current`)
}

function profileKey({ queues, labels }: RegisteredExecutor): string {
  const sortedLabels = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([[...queues].sort(), sortedLabels])
}
