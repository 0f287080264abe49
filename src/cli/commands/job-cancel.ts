import { Command } from 'commander'
import type { Client } from '../../sdk/index.ts'
import { actOnAll, type BulkFlags, refuseMixed, withBulkOptions } from '../bulk.ts'
import { useClient } from '../options.ts'
import { printJson, printLines } from '../print.ts'

export function cancelCommand(): Command {
  return withBulkOptions(
    new Command('cancel')
      .description('ask for the end of a job, or of all that fit a filter')
      .option('--reason <text>', 'shown with the job, and told its executor'),
    'available, leased or waiting; default: any of them',
  ).action(async (id: string | undefined, flags: BulkFlags) => {
    refuseMixed(id, flags)
    await useClient(flags, async (client) => {
      if (id !== undefined) await cancelOne(client, id, flags)
      else await actOnAll(client, 'cancel', flags, 'cancelled, or told to stop')
    })
  })
}

async function cancelOne(client: Client, id: string, { json, reason }: BulkFlags) {
  const job = await client.cancelJob(id, { reason })
  if (json) return printJson({ job })
  const { executor_id, critical_until, state, transition } = job
  const waits =
    critical_until === null ? '' : `, which must not be interrupted until ${critical_until},`
  if (state === 'leased') printLines([`${job.id}: ${executor_id}${waits} is told to stop`])
  else if (transition) {
    const { owner, expires_at } = transition
    printLines([`${job.id}: ${owner}, who owns its next move until ${expires_at}, is waited for`])
  } else printLines([`${job.id} is ${state}`])
}
