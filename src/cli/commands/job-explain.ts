import { Command } from 'commander'
import type { Explanation, Reason, ReasonCode } from '../../contract/explain.ts'
import { type ClientFlags, useClient, withClientOptions } from '../options.ts'
import { printJson, printLines } from '../print.ts'

export function explainCommand(): Command {
  return withClientOptions(
    new Command('explain')
      .description('say why a job is where it is, and what to do about it')
      .argument('<id>'),
  ).action(async (id: string, flags: ClientFlags) => {
    await useClient(flags, async (client) => {
      const explanation = await client.explainJob(id)
      if (flags.json) printJson(explanation)
      else printLines(linesOf(explanation))
    })
  })
}

function linesOf({ job_id, state, reasons }: Explanation): string[] {
  return [
    `${job_id} is ${state}`,
    ...reasons.map((reason) => {
      const what = whatToDo[reason.code](reason.facts, job_id)
      return `  ${reason.code}: ${reason.detail}${what && `; to do: ${what}`}`
    }),
  ]
}

type Advice = (facts: Reason['facts'], jobId: string) => string

const nothing: Advice = () => ''

/** What helps, if anything does. */
const whatToDo: Record<ReasonCode, Advice> = {
  no_active_replica: () => 'understudy leader show; start a replica if none stands',
  no_executor_for_queue: startAgent,
  no_executor_with_labels: startAgent,
  executors_full: () => 'wait, or start more executors',
  executors_draining: (facts) => `understudy executor undrain ${firstOf(facts)}`,
  executors_faulty: (facts) => `mend it, then: understudy executor clear ${firstOf(facts)}`,
  executors_degraded: (facts) => `understudy executor history ${firstOf(facts)}`,
  executors_silent: (facts) => `see to ${firstOf(facts)}`,
  waiting_its_turn: () => 'wait',
  scheduled: () => 'wait',
  backing_off: () => 'wait',
  effect_in_doubt: ({ keys }, jobId) =>
    (keys as string[])
      .map((key) => `understudy effect resolve ${jobId} ${quoted(key)} --outcome … --note …`)
      .join('; '),
  waiting_for_decision: ({ stage }, jobId) => `understudy job approve ${jobId} --stage ${stage}`,
  transition_owned: (_, jobId) => `wait, or: understudy job abandon ${jobId} --note …`,
  running: nothing,
  offer_on_its_way: nothing,
  cancel_requested: () => 'wait',
  cancel_deferred: () => 'wait',
  executor_silent: ({ executor_id }) => `see to ${executor_id}, or wait`,
  past_run_timeout: () => 'wait',
  succeeded: nothing,
  failed: ({ retried_as }, jobId) =>
    retried_as === null ? `understudy job retry ${jobId}` : `understudy job explain ${retried_as}`,
  cancelled: ({ retried_as }) =>
    retried_as === null ? '' : `understudy job explain ${retried_as}`,
  unexplained: () => 'please report this',
}

function firstOf({ executors }: Reason['facts']): string {
  const [first] = executors as { executor_id: string }[]
  return first?.executor_id ?? 'EXECUTOR'
}

/** One that could run it: it serves the queue, and has all the labels. */
function startAgent({ queue, requires }: Reason['facts']): string {
  const labels = Object.entries(requires as Record<string, string>).map(
    ([name, value]) => ` --label ${quoted(`${name}=${value}`)}`,
  )
  return `understudy agent --queue ${queue}${labels.join('')} …`
}

/** As a shell reads it as one word. */
function quoted(word: string): string {
  return /^[\w.:@/=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
