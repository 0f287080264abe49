import { Presets, SingleBar } from 'cli-progress'
import { Command } from 'commander'
import type { BulkDone, BulkFilter, BulkRequestInput } from '../../contract/bulk.ts'
import type { Client } from '../../sdk/index.ts'
import { UsageError } from '../exit.ts'
import {
  type ClientFlags,
  repeated,
  useClient,
  wholeNumber,
  withClientOptions,
} from '../options.ts'
import { printJson, printLines } from '../print.ts'

interface RetryFlags extends ClientFlags {
  all?: boolean
  queue?: string
  state?: BulkFilter['state']
  kind?: string
  label?: string[]
  dryRun?: boolean
  yes?: boolean
  delayMs?: number
  reason?: string
}

export function retryCommand(): Command {
  return withClientOptions(
    new Command('retry')
      .description('retry a job that failed or was cancelled, or all that fit a filter; audited')
      .argument('[id]')
      .option('--delay-ms <n>', 'not before so long from now', wholeNumber(0))
      .option('--all', 'every job that fits the options below; operators may')
      .option('--queue <queue>', 'with --all')
      .option('--state <state>', 'with --all: failed or cancelled; default: failed')
      .option('--kind <kind>', 'with --all')
      .option('--label <name=value>', 'with --all; repeatable', repeated)
      .option('--dry-run', 'with --all: count them, and change nothing')
      .option('--yes', 'with --all: even if none of those is given, and so everything fits')
      .option('--reason <text>', 'kept in the audit'),
  ).action(async (id: string | undefined, flags: RetryFlags) => {
    refuseMixed(id, flags)
    await useClient(flags, async (client) => {
      if (id !== undefined) await retryOne(client, id, flags)
      else await retryAll(client, flags)
    })
  })
}

function refuseMixed(id: string | undefined, flags: RetryFlags): void {
  const { all, queue, state, kind, label, dryRun, yes, delayMs } = flags
  const isFiltered = [queue, state, kind, label, dryRun, yes].some((flag) => flag !== undefined)
  if (id === undefined && !all) throw new UsageError('give the id of a job, or --all')
  if (id !== undefined && (all || isFiltered)) throw new UsageError('give an id or --all, not both')
  if (all && delayMs !== undefined) throw new UsageError('--delay-ms is for one job')
}

async function retryOne(client: Client, id: string, { delayMs, reason, json }: RetryFlags) {
  const { job, replayed = false } = await client.retryJob(id, { delay_ms: delayMs, reason })
  if (json) return printJson({ job, replayed })
  printLines([
    replayed ? `${id} was retried before, as ${job.id}` : `${id} is retried as ${job.id}`,
  ])
}

async function retryAll(client: Client, flags: RetryFlags) {
  const { queue, state, kind, label, yes: confirm, reason, json } = flags
  const bulk = { action: 'retry', filter: { queue, state, kind, label }, confirm, reason } as const
  if (flags.dryRun) {
    const { matched } = await client.bulkJobs({ ...bulk, dry_run: true })
    if (json) printJson({ dry_run: true, matched })
    else printLines([`${matched} jobs would be retried`])
    return
  }
  const { matched, changed, skipped } = await runToEnd(client, bulk, json !== true)
  if (json) return printJson({ dry_run: false, matched, changed, skipped })
  const passed = skipped > 0 ? `; ${skipped} were retried by somebody else meanwhile` : ''
  printLines([`${changed} of ${matched} jobs are retried${passed}`])
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
