import { Command } from 'commander'
import type { AttemptList, Job } from '../../contract/jobs.ts'
import type { JobFilter } from '../../sdk/index.ts'
import {
  type ClientFlags,
  repeated,
  useClient,
  wholeNumber,
  withClientOptions,
} from '../options.ts'
import { ago, printJson, printLines, table } from '../print.ts'
import { cancelCommand } from './job-cancel.ts'
import { explainCommand } from './job-explain.ts'
import { moveCommands } from './job-moves.ts'
import { retryCommand } from './job-retry.ts'

interface ListFlags extends ClientFlags {
  queue?: string
  state?: string
  kind?: string
  label?: string[]
  limit?: number
  cursor?: string
}

interface GetFlags extends ClientFlags {
  waitMs?: number
}

export function jobCommand(): Command {
  const command = new Command('job')
    .description('look at jobs, move them between their stages, cancel and retry them')
    .addCommand(
      withClientOptions(
        new Command('list')
          .description('list jobs, newest first')
          .option('--queue <queue>')
          .option('--state <state>', 'available, leased, waiting, succeeded, failed or cancelled')
          .option('--kind <kind>')
          .option('--label <name=value>', 'repeatable', repeated)
          .option('--limit <n>', 'default: 50', wholeNumber(1, 500))
          .option('--cursor <cursor>', 'next_cursor of the page before'),
      ).action(listJobs),
    )
    .addCommand(
      withClientOptions(
        new Command('get')
          .description('show a job and its attempts')
          .argument('<id>')
          .option('--wait-ms <n>', 'wait so long for its end', wholeNumber(0)),
      ).action(getJob),
    )
    .addCommand(explainCommand())
    .addCommand(cancelCommand())
    .addCommand(retryCommand())
  for (const each of moveCommands()) command.addCommand(each)
  return command
}

async function listJobs({ label, json, urls: _, token: __, ...rest }: ListFlags, command: Command) {
  await useClient(command.opts<ListFlags>(), async (client) => {
    const filter: JobFilter = label === undefined ? rest : { ...rest, labels: label }
    const list = await client.listJobs(filter)
    if (json) return printJson(list)
    printLines(
      table(
        ['id', 'queue', 'kind', 'state', 'stage', 'attempt', 'executor', 'error', 'created'],
        list.jobs.map((job) => [
          job.id,
          job.queue,
          job.kind,
          job.scheduled ? 'scheduled' : job.state,
          job.stage,
          `${job.attempt}/${job.max_attempts}`,
          job.executor_id,
          job.error_code,
          ago(job.created_at),
        ]),
      ),
    )
    if (list.next_cursor) printLines(['', `more: --cursor ${list.next_cursor}`])
  })
}

async function getJob(id: string, { json, waitMs = 0 }: GetFlags, command: Command) {
  await useClient(command.opts<GetFlags>(), async (client) => {
    const job = waitMs > 0 ? await client.waitForJob(id, waitMs) : await client.getJob(id)
    const { attempts, late_reports } = await client.listAttempts(id)
    if (json) return printJson({ job, attempts, late_reports })
    printJob(job)
    printLines([
      '',
      'attempts that ended',
      ...table(
        ['fence', 'attempt', 'executor', 'outcome', 'error', 'ended'],
        attempts.map((attempt) => [
          attempt.fence,
          attempt.attempt,
          attempt.executor_id,
          attempt.outcome,
          attempt.error ? `${attempt.error.code}: ${attempt.error.message}`.slice(0, 60) : null,
          ago(attempt.ended_at),
        ]),
      ),
    ])
    if (late_reports.length > 0) printLines(['', ...lateReportLines(late_reports)])
  })
}

function lateReportLines(reports: AttemptList['late_reports']): string[] {
  return [
    'reports that came too late, and count for nothing',
    ...table(
      ['fence', 'executor', 'said', 'rejected as', 'received'],
      reports.map((report) => [
        report.fence,
        report.executor_id,
        report.outcome,
        report.reason,
        ago(report.received_at),
      ]),
    ),
  ]
}

/** One fact a line, the ones without a value left out. */
export function printJob(job: Job): void {
  const facts: [string, string | null][] = [
    ['id', job.id],
    ['kind', job.kind],
    ['queue', job.queue],
    ['state', stateOf(job)],
    ['stage', job.stage && `${job.stage}, move ${job.move}`],
    ['owned by', job.transition && `${job.transition.owner} until ${job.transition.expires_at}`],
    ['attempt', `${job.attempt} of ${job.max_attempts}`],
    ['lost leases', job.lost_leases > 0 ? String(job.lost_leases) : null],
    ['executor', job.executor_id && `${job.executor_id}, fence ${job.fence}`],
    ['lease until', job.lease_expires_at],
    ['critical', job.critical_until && `until ${job.critical_until} at the latest`],
    ['cancel', job.cancel_requested_at && cancelOf(job)],
    ['payload', brief(job.payload)],
    ['result', job.result === null ? null : brief(job.result)],
    ['error', job.error && `${job.error.code}: ${job.error.message}`],
    ['retry of', job.retry_of],
    ['retried as', job.retried_as],
    ['created', job.created_at],
    ['finished', job.finished_at],
  ]
  printLines(
    facts
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name.padEnd(12)}${value}`),
  )
  printLines(stageLines(job))
}

function stateOf({ state, scheduled, run_at, waiting_for }: Job): string {
  if (scheduled) return `available, not before ${run_at}`
  const article = waiting_for === 'effect' ? 'an' : 'a'
  return waiting_for === null ? state : `${state} for ${article} ${waiting_for}`
}

/** The pipeline, a stage a line. */
function stageLines({ stages }: Job): string[] {
  if (stages.length === 0) return []
  const header = ['stage', 'kind', 'state', 'result', 'done']
  const rows = stages.map(({ name, kind, state, result, done_at }) => [
    name,
    kind ?? 'manual',
    state,
    result === null ? null : brief(result).slice(0, 60),
    ago(done_at),
  ])
  return ['', ...table(header, rows)]
}

function cancelOf(job: Job): string {
  const { cancel_requested_at, cancel_reason, critical_until, state, transition } = job
  const parts = [`asked for ${ago(cancel_requested_at)}`]
  if (cancel_reason) parts.push(cancel_reason)
  if (critical_until !== null) parts.push('waits for the critical section')
  if (transition) parts.push(`waits for ${transition.owner}`)
  if (state === 'succeeded') parts.push('too late')
  return parts.join('; ')
}

function brief(value: unknown): string {
  const text = JSON.stringify(value)
  return text.length > 200 ? `${text.slice(0, 200)}… (${text.length} characters)` : text
}
