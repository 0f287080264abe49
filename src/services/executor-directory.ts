import { AppError } from '../errors.ts'
import type { JobClass } from '../sql/classes.ts'
import type { RegisteredExecutor } from '../sql/executors.ts'

type Classes = ReadonlyMap<number, JobClass>

/** Executors that serve the same queues with the same labels, and so the same classes. */
export interface Profile {
  readonly queues: ReadonlySet<string>
  readonly labels: Readonly<Record<string, string>>
  readonly classIds: Set<number>
}

/** One executor under its current epoch. A new registration makes a new entry. */
export interface DirectoryEntry {
  readonly executorId: string
  readonly epoch: number
  readonly profile: Profile
  /** The latest poll that brought work: its answer may have been lost. */
  lastPollId: string | null
}

function canServe(profile: Profile, { queue, requires }: JobClass): boolean {
  return (
    profile.queues.has(queue) &&
    Object.entries(requires).every(([name, value]) => profile.labels[name] === value)
  )
}

/** Epochs, queues and labels in memory, so that an empty poll costs no query. Only the active replica
 *  registers executors, so what it loaded in recovery and added since is current (invariant 1). */
export class ExecutorDirectory {
  #entries = new Map<string, DirectoryEntry>()
  #profiles = new Map<string, Profile>()

  load(executors: RegisteredExecutor[], classes: Classes): void {
    this.#entries = new Map()
    this.#profiles = new Map()
    for (const executor of executors) this.put(executor, classes)
  }

  put(executor: RegisteredExecutor, classes: Classes): DirectoryEntry {
    const entry: DirectoryEntry = {
      executorId: executor.executor_id,
      epoch: executor.epoch,
      profile: this.#profileOf(executor, classes),
      lastPollId: null,
    }
    this.#entries.set(entry.executorId, entry)
    return entry
  }

  /** A class that was just learned joins every profile that can serve it. */
  addClass(jobClass: JobClass): void {
    for (const profile of this.#profiles.values()) {
      if (canServe(profile, jobClass)) profile.classIds.add(jobClass.class_id)
    }
  }

  find(executorId: string): DirectoryEntry | undefined {
    return this.#entries.get(executorId)
  }

  /** Throws not_found, or stale_epoch for anything but the current epoch. */
  get(executorId: string, epoch: number): DirectoryEntry {
    const entry = this.#entries.get(executorId)
    if (!entry) throw new AppError('not_found', `no executor ${executorId} is registered`)
    if (entry.epoch !== epoch) {
      throw new AppError(
        'stale_epoch',
        `epoch ${epoch} of ${executorId} is not current; it is ${entry.epoch}`,
      )
    }
    return entry
  }

  #profileOf({ queues, labels }: RegisteredExecutor, classes: Classes): Profile {
    const sortedLabels = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
    const key = JSON.stringify([[...queues].sort(), sortedLabels])
    const known = this.#profiles.get(key)
    if (known) return known
    const profile: Profile = { queues: new Set(queues), labels, classIds: new Set() }
    for (const jobClass of classes.values()) {
      if (canServe(profile, jobClass)) profile.classIds.add(jobClass.class_id)
    }
    this.#profiles.set(key, profile)
    return profile
  }
}
