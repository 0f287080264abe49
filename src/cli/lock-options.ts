import { randomUUID } from 'node:crypto'
import type { Command } from 'commander'
import { type ClientFlags, duration, hostId, withClientOptions } from './options.ts'

export interface LockFlags extends ClientFlags {
  ttl: number
  wait: number
  owner?: string
  job?: string
}

/** Of the commands that acquire. */
export function withLockOptions(command: Command): Command {
  return withClientOptions(command)
    .option('--ttl <duration>', 'over after so long without a renewal: 30s, 10m', duration, 30_000)
    .option('--wait <duration>', 'wait so long for it', duration, 0)
    .option(
      '--owner <owner>',
      'who has it, across restarts: a new process of the same owner takes over at once; default: a new one each time',
    )
    .option('--job <id>', 'the lock ends with this job')
}

/** Never another's by chance: who has the same owner takes over. Host name and process id are for people: containers
 *  share both, and ids are used again. */
export function ownerOf({ owner }: { owner?: string }): string {
  return owner ?? `${hostId()}-${process.pid}-${randomUUID().slice(0, 8)}`
}
