export { Client, type ClientOptions, type JobFilter } from './client.ts'
export { ApiError, JobFailure, JobRelease, UnavailableError } from './errors.ts'
export { Executor, type ExecutorEvent, type ExecutorOptions } from './executor.ts'
export type { JobContext, JobHandler, StopReason } from './job-context.ts'
