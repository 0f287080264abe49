import type { Command } from 'commander'
import { loadLeaseEnv } from '../config.ts'
import { UsageError } from './exit.ts'
import { type ClientFlags, wholeNumber, withClientOptions } from './options.ts'

export interface LeaseFlags extends ClientFlags {
  job?: string
  fence?: number
  executor?: string
  epoch?: number
}

/** Whose lease it is; what an agent starts is told by its environment. */
export function withLeaseOptions(command: Command): Command {
  return withClientOptions(command)
    .option('--job <id>', 'default: UNDERSTUDY_JOB_ID')
    .option('--fence <n>', 'default: UNDERSTUDY_FENCE', wholeNumber(1))
    .option('--executor <id>', 'default: UNDERSTUDY_EXECUTOR_ID')
    .option('--epoch <n>', 'default: UNDERSTUDY_EPOCH', wholeNumber(1))
}

/** Throws UsageError where neither a flag nor an agent says it. */
export function leaseOf(flags: LeaseFlags) {
  const env = loadLeaseEnv()
  return {
    jobId: given(flags.job ?? env.jobId, '--job', 'UNDERSTUDY_JOB_ID'),
    lease: {
      fence: given(flags.fence ?? env.fence, '--fence', 'UNDERSTUDY_FENCE'),
      executor_id: given(flags.executor ?? env.executorId, '--executor', 'UNDERSTUDY_EXECUTOR_ID'),
      epoch: given(flags.epoch ?? env.epoch, '--epoch', 'UNDERSTUDY_EPOCH'),
    },
  }
}

function given<T>(value: T | undefined, flag: string, variable: string): T {
  if (value === undefined) {
    throw new UsageError(`give ${flag} or ${variable}, or run this as the command of an agent`)
  }
  return value
}
