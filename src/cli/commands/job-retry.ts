import { Command } from 'commander'
import type { Client } from '../../sdk/index.ts'
import { actOnAll, type BulkFlags, refuseMixed, withBulkOptions } from '../bulk.ts'
import { UsageError } from '../exit.ts'
import { useClient, wholeNumber } from '../options.ts'
import { printJson, printLines } from '../print.ts'

interface RetryFlags extends BulkFlags {
  delayMs?: number
}

export function retryCommand(): Command {
  return withBulkOptions(
    new Command('retry')
      .description('retry a job that failed or was cancelled, or all that fit a filter; audited')
      .option('--delay-ms <n>', 'not before so long from now', wholeNumber(0))
      .option('--reason <text>', 'kept in the audit'),
    'failed or cancelled; default: failed',
  ).action(async (id: string | undefined, flags: RetryFlags) => {
    refuseMixed(id, flags)
    if (id === undefined && flags.delayMs !== undefined) {
      throw new UsageError('--delay-ms is for one job')
    }
    await useClient(flags, async (client) => {
      if (id !== undefined) await retryOne(client, id, flags)
      else await actOnAll(client, 'retry', flags, 'retried')
    })
  })
}

async function retryOne(client: Client, id: string, { delayMs, reason, json }: RetryFlags) {
  const { job, replayed = false } = await client.retryJob(id, { delay_ms: delayMs, reason })
  if (json) return printJson({ job, replayed })
  printLines([
    replayed ? `${id} was retried before, as ${job.id}` : `${id} is retried as ${job.id}`,
  ])
}
