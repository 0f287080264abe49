import { setTimeout as sleep } from 'node:timers/promises'
import { Command } from 'commander'
import type { LeaderAnswer } from '../../contract/cluster.ts'
import { type Client, UnavailableError } from '../../sdk/index.ts'
import { type ClientFlags, useClient, wholeNumber, withClientOptions } from '../options.ts'
import { ago, lasting, printJson, printLines, table } from '../print.ts'

interface StepDownFlags extends ClientFlags {
  reason?: string
}

interface HistoryFlags extends ClientFlags {
  limit: number
}

type Term = LeaderAnswer['terms'][number]

export function leaderCommand(): Command {
  return new Command('leader')
    .description('show who leads and who led, and make it hand over')
    .addCommand(
      withClientOptions(
        new Command('show').description('show who leads, its recovery, and earlier terms'),
      ).action(showLeader),
    )
    .addCommand(
      withClientOptions(
        new Command('history')
          .description('show each term: who, from when to when, why it ended, and its recovery')
          .option('--limit <n>', 'most terms to show', wholeNumber(1, 1_000), 20),
      ).action(showHistory),
    )
    .addCommand(
      withClientOptions(
        new Command('step-down')
          .description('end the term that leads, and wait for the next one; audited')
          .option('--reason <text>', 'kept in the audit'),
      ).action(stepDown),
    )
}

async function showLeader(flags: ClientFlags) {
  await useClient(flags, async (client) => {
    const answer = await client.getLeader()
    if (flags.json) printJson(answer)
    else printLines(leaderLines(answer))
  })
}

/** The leader for people. */
function leaderLines({ term, leader, since, recovery, terms }: LeaderAnswer): string[] {
  const led = leader ? `led by ${leader.name}, promoted ${ago(since)}` : 'nobody leads'
  const url = leader?.advertised_url ?? ''
  return [
    `term ${term}, ${led}${url && `, at ${url}`}`,
    ...recovery.map(({ phase, ms }) => `  ${phase}: ${ms} ms`),
    '',
    ...table(
      ['term', 'replica', 'promoted', 'until', 'end'],
      terms.map((each) => [
        each.term,
        each.name,
        ago(each.since),
        each.until && ago(each.until),
        each.end_reason,
      ]),
    ),
  ]
}

async function showHistory({ limit, ...flags }: HistoryFlags) {
  await useClient(flags, async (client) => {
    const { terms } = await client.getLeader({ limit })
    if (flags.json) printJson({ terms })
    else printLines(historyLines(terms))
  })
}

/** Under each term, the phases of its recovery. */
function historyLines(terms: Term[]): string[] {
  const head = ['term', 'replica', 'from', 'until', 'lasted', 'end', 'recovery']
  const [first = '', ...rows] = table(
    head,
    terms.map((term) => [
      term.term,
      term.name,
      term.since,
      term.until,
      lasting(Date.parse(term.until ?? new Date().toISOString()) - Date.parse(term.since)),
      term.end_reason,
      term.recovery.length === 0 ? null : `${total(term.recovery)} ms`,
    ]),
  )
  return [
    first,
    ...rows.flatMap((row, index) => [row, ...(terms[index]?.recovery ?? []).map(phaseLine)]),
  ]
}

function total(recovery: Term['recovery']): number {
  return recovery.reduce((sum, { ms }) => sum + ms, 0)
}

/** What it counted none of is left out. */
function phaseLine({ phase, ms, counts }: Term['recovery'][number]): string {
  const counted = Object.entries(counts).filter(([, count]) => count > 0)
  const what = counted.map(([name, count]) => `, ${name} ${count}`).join('')
  return `        ${phase}: ${ms} ms${what}`
}

/** How long a successor is waited for. */
const successorMs = 30_000

async function stepDown(flags: StepDownFlags) {
  await useClient(flags, async (client) => {
    const { term, leader } = await client.getLeader()
    const { reason } = flags
    const wanted = { ...(term > 0 ? { term } : {}), ...(reason === undefined ? {} : { reason }) }
    await client.stepDown(wanted)
    if (!flags.json) printLines([`term ${term}${leader ? ` of ${leader.name}` : ''} has ended`])
    const next = await untilLedAfter(client, term)
    if (flags.json) printJson({ ended_term: term, term: next.term, leader: next.leader })
    else printLines([`${next.leader?.name} leads term ${next.term}`])
  })
}

async function untilLedAfter(client: Client, term: number): Promise<LeaderAnswer> {
  const until = performance.now() + successorMs
  for (;;) {
    const answer = await client.getLeader()
    if (answer.term > term && answer.leader) return answer
    if (performance.now() > until) {
      throw new UnavailableError(`term ${term} has ended, and nobody leads since`)
    }
    await sleep(100)
  }
}
