import { Command } from 'commander'
import type { Status } from '../../contract/cluster.ts'
import { executorTable } from '../executor-lines.ts'
import { lockTable } from '../lock-table.ts'
import { type ClientFlags, useClient, withClientOptions } from '../options.ts'
import { ago, printJson, printLines, table } from '../print.ts'

export function statusCommand(): Command {
  return withClientOptions(
    new Command('status').description('show replicas, queues, executors, leases and named locks'),
  ).action(async (flags: ClientFlags) => {
    await useClient(flags, async (client) => {
      const status = await client.getStatus()
      if (flags.json) printJson(status)
      else printLines(statusLines(status))
    })
  })
}

/** The status for people. */
function statusLines(status: Status): string[] {
  return [
    ...leaderLines(status),
    ...section('replicas', replicaTable(status)),
    ...section('queues', queueTable(status)),
    ...section('executors', executorTable(status.executors)),
    ...section('leases, those that expire first', leaseTable(status)),
    ...reaperLines(status),
    ...section(`named locks, ${status.locks_held} held`, lockTable(status.locks.slice(0, 10))),
  ]
}

function leaderLines({ leader }: Status): string[] {
  const { term, name, since, recovery_ms: recoveryMs, end_reason_before: before } = leader
  const recovered = recoveryMs === null ? '' : `, recovered in ${recoveryMs} ms`
  const led = name ? `led by ${name}, promoted ${ago(since)}${recovered}` : 'nobody leads'
  return [`term ${term}, ${led}`, ...(before ? [`the term before ended: ${before}`] : [])]
}

function section(title: string, lines: string[]): string[] {
  return ['', title, ...lines]
}

function replicaTable({ replicas }: Status): string[] {
  return table(
    ['', 'name', 'url', 'version', 'started'],
    replicas.map((replica) => [
      replica.is_leader ? '*' : '',
      replica.name,
      replica.advertised_url,
      replica.version,
      ago(replica.started_at),
    ]),
  )
}

function queueTable({ queues }: Status): string[] {
  return table(
    ['queue', 'available', 'scheduled', 'leased', 'failed', 'oldest'],
    queues.map((queue) => [
      queue.queue,
      queue.available,
      queue.scheduled,
      queue.leased,
      queue.failed,
      ago(queue.oldest_available_at),
    ]),
  )
}

function leaseTable({ leases }: Status): string[] {
  return table(
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
  )
}

/** Nothing while all is well: every term moves its deadlines once. */
function reaperLines({ reaper }: Status): string[] {
  if (!reaper) return []
  const told = ({ promotion: _, ...counts }: Record<string, number>) =>
    Object.entries(counts).filter(([, count]) => count > 0)
  const [taken, moved] = [told(reaper.tiers), told(reaper.deferrals)]
  if (taken.length + moved.length === 0) return []
  return section('taken from executors since the term began', [
    ...table(['why', 'leases'], taken),
    ...moved.map(([why, times]) => `  all deadlines were moved, ${times}×: ${why}`),
  ])
}
