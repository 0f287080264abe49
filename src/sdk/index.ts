export { Client, type ClientOptions, type JobFilter } from './client.ts'
export type { CriticalOptions } from './critical.ts'
export {
  ApiError,
  EffectInDoubt,
  EffectNotDone,
  JobFailure,
  JobRelease,
  UnavailableError,
} from './errors.ts'
export { Executor } from './executor.ts'
export type { ExecutorEvent, ExecutorOptions } from './executor-options.ts'
export type { HeldLock, HoldOptions, LockEnd } from './held-lock.ts'
export type { JobContext, JobHandler, StopReason } from './job-context.ts'
export type { EffectContext, EffectOptions, Found } from './ledger.ts'
export type { Locks, LockTries } from './locks.ts'
