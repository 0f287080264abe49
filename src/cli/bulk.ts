import { Presets, SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import type { BulkAction, BulkDone, BulkFilter, BulkRequestInput } from '../contract/bulk.ts'
import type { Client } from '../sdk/index.ts'
import { UsageError } from './exit.ts'
import { type ClientFlags, repeated, withClientOptions } from './options.ts'
import { printJson, printLines } from './print.ts'

/** Of a command that takes one job, or all that fit a filter. */
export interface BulkFlags extends ClientFlags {
  all?: boolean
  queue?: string
  state?: BulkFilter['state']
  kind?: string
  label?: string[]
  dryRun?: boolean
  yes?: boolean
  reason?: string
}

/** `states` is said of --state. */
export function withBulkOptions(command: Command, states: string): Command {
  return withClientOptions(
    command
      .argument('[id]')
      .option('--all', 'every job that fits the options below; operators may')
      .option('--queue <queue>', 'with --all')
      .option('--state <state>', `with --all: ${states}`)
      .option('--kind <kind>', 'with --all')
      .option('--label <name=value>', 'with --all; repeatable', repeated)
      .option('--dry-run', 'with --all: count them, and change nothing')
      .option('--yes', 'with --all: even if none of those is given, and so everything fits'),
  )
}

export function refuseMixed(id: string | undefined, flags: BulkFlags): void {
  const { all, queue, state, kind, label, dryRun, yes } = flags
  const isFiltered = [queue, state, kind, label, dryRun, yes].some((flag) => flag !== undefined)
  if (id === undefined && !all) throw new UsageError('give the id of a job, or --all')
  if (id !== undefined && (all || isFiltered)) throw new UsageError('give an id or --all, not both')
}

/** `done` is what becomes of the jobs. */
export async function actOnAll(client: Client, action: BulkAction, flags: BulkFlags, done: string) {
  const { queue, state, kind, label, yes: confirm, reason, json } = flags
  const bulk = { action, filter: { queue, state, kind, label }, confirm, reason }
  if (flags.dryRun) {
    const { matched } = await client.bulkJobs({ ...bulk, dry_run: true })
    if (json) printJson({ dry_run: true, matched })
    else printLines([`${matched} jobs would be ${done}`])
    return
  }
  const { matched, changed, skipped } = await runToEnd(client, bulk, json !== true)
  if (json) return printJson({ dry_run: false, matched, changed, skipped })
  const passed = skipped > 0 ? `; ${skipped} were changed by somebody else meanwhile` : ''
  printLines([`${changed} of ${matched} jobs are ${done}${passed}`])
}

/** Call after call, with a bar on a terminal if it takes more than one. */
async function runToEnd(client: Client, bulk: BulkRequestInput, isShown: boolean) {
  const bar = new SingleBar(
    { format: '  {bar} {value}/{total} jobs', hideCursor: true },
    Presets.shades_classic,
  )
  const sum = { matched: 0, changed: 0, skipped: 0 }
  try {
    for (let cursor: BulkDone['next_cursor'] | undefined; cursor !== null; ) {
      const done = await client.bulkJobs({ ...bulk, cursor })
      if (done.dry_run) throw new Error('jobs were counted that should have been changed')
      if (cursor === undefined) sum.matched = done.matched
      sum.changed += done.changed
      sum.skipped += done.skipped
      cursor = done.next_cursor
      if (cursor !== null && isShown && !bar.isActive) bar.start(sum.matched, 0)
      if (bar.isActive) bar.update(sum.changed + sum.skipped)
    }
  } finally {
    if (bar.isActive) bar.stop()
  }
  return sum
}
