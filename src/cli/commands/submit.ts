import { Command, InvalidArgumentError } from 'commander'
import type { JobSubmitInput } from '../../contract/jobs.ts'
import { exitCodes, UsageError, WaitError } from '../exit.ts'
import {
  type ClientFlags,
  json,
  pair,
  useClient,
  wholeNumber,
  withClientOptions,
} from '../options.ts'
import { printJson } from '../print.ts'
import { printJob } from './job.ts'

type StageInput = NonNullable<JobSubmitInput['stages']>[number]

interface Flags extends ClientFlags {
  kind: string
  queue?: string
  payload?: unknown
  label?: Record<string, string>
  requires?: Record<string, string>
  priority?: number
  delayMs?: number
  runAt?: string
  maxAttempts?: number
  runTimeoutMs?: number
  stage?: StageInput[]
  stages?: StageInput[]
  key?: string
  wait?: boolean
}

export function submitCommand(): Command {
  return withClientOptions(
    new Command('submit')
      .description('submit a job, and with --wait follow it to its end')
      .requiredOption('--kind <kind>', 'what the job is')
      .option('--queue <queue>', 'default: default')
      .option('--payload <json>', 'JSON, @file, or - for stdin', json)
      .option('--label <name=value>', 'for finding it; repeatable', pair)
      .option('--requires <name=value>', 'label that an executor must have; repeatable', pair)
      .option('--priority <0-9>', 'higher first', wholeNumber(0, 9))
      .option('--delay-ms <n>', 'not before so many milliseconds', wholeNumber(0))
      .option('--run-at <instant>', 'not before this instant (ISO 8601)')
      .option('--max-attempts <n>', 'default: 5', wholeNumber(1))
      .option('--run-timeout-ms <n>', 'stop an attempt that runs longer', wholeNumber(1))
      .option('--stage <stage>', 'name, name:kind or name=manual; in order, repeatable', stage)
      .option('--stages <json>', 'all of them as JSON, @file, or - for stdin', json)
      .option('--key <key>', 'idempotency key: same queue and key, same job')
      .option('--wait', 'wait for its end; exit 1 unless it succeeded'),
  ).action(async (flags: Flags) => {
    await useClient(flags, async (client) => {
      const { job, replayed = false } = await client.submit(toSubmit(flags))
      if (!flags.wait) {
        if (flags.json) printJson({ job, replayed })
        else printJob(job)
        return
      }
      if (!flags.json) process.stderr.write(`${job.id} submitted; waiting for its end\n`)
      const ended = await client
        .waitForJob(job.id, Number.POSITIVE_INFINITY)
        .catch((error: unknown) => {
          throw new WaitError(job.id, error)
        })
      if (flags.json) printJson({ job: ended, replayed })
      else printJob(ended)
      if (ended.state !== 'succeeded') process.exitCode = exitCodes.failed
    })
  })
}

/** Gathers repeated stages. No name has `=`, and a kind begins after the first colon. */
function stage(text: string, before: StageInput[] = []): StageInput[] {
  const [, name, sign, rest = ''] = /^([^:=]+)(?:([:=])(.*))?$/s.exec(text) ?? []
  if (name === undefined || (sign === '=' && rest !== 'manual') || (sign === ':' && rest === '')) {
    throw new InvalidArgumentError('Give it as name, name:kind or name=manual.')
  }
  if (sign === undefined) return [...before, { name }]
  return [...before, sign === '=' ? { name, manual: true } : { name, kind: rest }]
}

/** Only what was given: the server has the defaults. */
function toSubmit(flags: Flags): JobSubmitInput {
  if (flags.stage && flags.stages) throw new UsageError('give --stage or --stages, not both')
  const given = {
    kind: flags.kind,
    queue: flags.queue,
    payload: flags.payload,
    labels: flags.label,
    requires: flags.requires,
    priority: flags.priority,
    delay_ms: flags.delayMs,
    run_at: flags.runAt,
    max_attempts: flags.maxAttempts,
    run_timeout_ms: flags.runTimeoutMs,
    stages: flags.stages ?? flags.stage,
    idempotency_key: flags.key,
  }
  return Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as JobSubmitInput
}
