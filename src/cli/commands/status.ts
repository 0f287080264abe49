import { Command } from 'commander'
import type { Status } from '../../contract/cluster.ts'
import { type ClientFlags, useClient, withClientOptions } from '../options.ts'
import { ago, printJson, printLines, table } from '../print.ts'

export function statusCommand(): Command {
  return withClientOptions(
    new Command('status').description('show replicas, queues, executors and leases'),
  ).action(async (flags: ClientFlags) => {
    await useClient(flags, async (client) => {
      const status = await client.getStatus()
      if (flags.json) printJson(status)
      else printLines(statusLines(status))
    })
  })
}

/** The status for people; the board of `understudy dev` shows it too. */
export function statusLines({ leader, replicas, queues, executors, leases }: Status): string[] {
  const led = leader.name ? `led by ${leader.name} ${ago(leader.since)}` : 'nobody leads'
  return [
    `term ${leader.term}, ${led}`,
    '',
    'replicas',
    ...table(
      ['', 'name', 'url', 'version', 'started'],
      replicas.map((replica) => [
        replica.is_leader ? '*' : '',
        replica.name,
        replica.advertised_url,
        replica.version,
        ago(replica.started_at),
      ]),
    ),
    '',
    'queues',
    ...table(
      ['queue', 'available', 'scheduled', 'leased', 'failed', 'oldest'],
      queues.map((queue) => [
        queue.queue,
        queue.available,
        queue.scheduled,
        queue.leased,
        queue.failed,
        ago(queue.oldest_available_at),
      ]),
    ),
    '',
    'executors',
    ...table(
      ['executor', 'epoch', 'state', 'leases', 'capacity', 'queues', 'heartbeat'],
      executors.map((executor) => [
        executor.executor_id,
        executor.epoch,
        executor.state,
        executor.leases,
        executor.capacity,
        executor.queues.join(','),
        ago(executor.heartbeat_at),
      ]),
    ),
    '',
    `leases (${leases.length}, those that expire first)`,
    ...table(
      ['job', 'kind', 'executor', 'fence', 'leased', 'expires'],
      leases
        .slice(0, 10)
        .map((lease) => [
          lease.job_id,
          lease.kind,
          lease.executor_id,
          lease.fence,
          ago(lease.leased_at),
          lease.lease_expires_at,
        ]),
    ),
  ]
}
