import { Command } from 'commander'
import { inheritedEnv } from '../../config.ts'
import type { ExecutorEvent } from '../../sdk/index.ts'
import { findConnection } from '../connection.ts'
import {
  type ClientFlags,
  hostId,
  pair,
  repeated,
  wholeNumber,
  withClientOptions,
} from '../options.ts'

interface Flags extends ClientFlags {
  queue?: string[]
  capacity: number
  id?: string
  label?: Record<string, string>
  graceMs: number
  cancelGraceMs: number
  onCancel?: string
}

export function agentCommand(): Command {
  return withClientOptions(
    new Command('agent')
      .description('run a command for each job: payload on stdin, last JSON line as its result')
      .argument('<command...>', 'after --: the command and its arguments')
      .option('--queue <queue>', 'repeatable; default: default', repeated)
      .option('--capacity <n>', 'most jobs at a time', wholeNumber(1, 5_000), 1)
      .option('--id <id>', 'executor id, stable across restarts; default: the host name')
      .option('--label <name=value>', 'what this executor has; repeatable', pair)
      .option('--grace-ms <n>', 'time to finish when asked to stop', wholeNumber(0), 30_000)
      .option(
        '--cancel-grace-ms <n>',
        'from SIGTERM to SIGKILL when a job is cancelled',
        wholeNumber(0),
        10_000,
      )
      .option(
        '--on-cancel <shell>',
        'run this, in a shell, once the command of a cancelled job has ended',
      ),
  ).action(async ([command = '', ...args]: string[], flags: Flags) => {
    const { runAgent } = await import('../../agent/agent.ts')
    const connection = findConnection(flags)
    await runAgent({
      ...connection,
      id: flags.id ?? hostId(),
      queues: flags.queue ?? ['default'],
      labels: flags.label ?? {},
      capacity: flags.capacity,
      graceMs: flags.graceMs,
      cancelGraceMs: flags.cancelGraceMs,
      onCancel: flags.onCancel,
      command,
      args,
      // So that `understudy effect` finds the control plane, too.
      env: {
        ...inheritedEnv(),
        UNDERSTUDY_URLS: connection.urls.join(),
        UNDERSTUDY_TOKEN: connection.token,
      },
      say: flags.json ? sayJson : sayLine,
    })
  })
}

function sayJson(event: ExecutorEvent): void {
  const plain = event.type === 'trouble' ? { ...event, error: event.error.message } : event
  if (plain.type !== 'served') process.stderr.write(`${JSON.stringify(plain)}\n`)
}

function sayLine(event: ExecutorEvent): void {
  const line = describe(event)
  if (line !== undefined) process.stderr.write(`${new Date().toISOString()} ${line}\n`)
}

function describe(event: ExecutorEvent): string | undefined {
  switch (event.type) {
    case 'registered':
      return `registered, epoch ${event.epoch}`
    case 'told_to_drain':
      return event.drain ? 'told to take no new work' : 'told to take work again'
    case 'draining':
      return `takes no new work; ${event.held} to finish (signal again to stop them at once)`
    case 'started':
      return `${event.job.job_id} started, kind ${event.job.kind}, attempt ${event.job.attempt}`
    case 'told_to_stop':
      return `${event.jobId} is to stop: ${event.reason}`
    case 'reported':
      return `${event.item.job_id} ${event.item.outcome}: ${event.result.reason ?? event.result.status}`
    case 'trouble':
      return `${event.call}: ${event.error.message}`
    case 'served':
      return undefined
  }
}
