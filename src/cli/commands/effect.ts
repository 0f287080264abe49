import { randomUUID } from 'node:crypto'
import { Command } from 'commander'
import type { EffectResolve, OnDoubt } from '../../contract/effects.ts'
import { type LeaseFlags, leaseOf, withLeaseOptions } from '../lease-options.ts'
import { type ClientFlags, json, useClient, withClientOptions } from '../options.ts'
import { ago, printJson, printLines, table } from '../print.ts'

interface BeginFlags extends LeaseFlags {
  onDoubt: OnDoubt
  beginId?: string
}

interface CommitFlags extends LeaseFlags {
  result?: unknown
}

interface ListFlags extends ClientFlags {
  cursor?: string
}

interface ResolveFlags extends ClientFlags {
  outcome: EffectResolve['outcome']
  result?: unknown
  note: string
}

export function effectCommand(): Command {
  return new Command('effect')
    .description('the ledger of irreversible acts')
    .addCommand(begin())
    .addCommand(commit())
    .addCommand(abort())
    .addCommand(
      withClientOptions(
        new Command('list')
          .description('show the ledger of a job')
          .argument('<job>')
          .option('--cursor <cursor>', 'next_cursor of the page before'),
      ).action(listEffects),
    )
    .addCommand(resolve())
}

function begin(): Command {
  return withLeaseOptions(
    new Command('begin')
      .description(
        'ask whether to do it: prints `proceed ID TOKEN`, `committed RESULT`, `in_doubt ID TOKEN`',
      )
      .argument('<key>', 'which act, in your own words')
      .option('--on-doubt <how>', 'retry, reconcile or hold; the first begin decides', 'hold')
      .option('--begin-id <id>', 'to ask again after a lost answer; default: a new one'),
  ).action(beginEffect)
}

function commit(): Command {
  return withLeaseOptions(
    new Command('commit')
      .description('it was done')
      .argument('<key>')
      .argument('<begin-id>', 'as begin printed it')
      .option('--result <json>', 'for later attempts; @file, or - for stdin', json),
  ).action(commitEffect)
}

function abort(): Command {
  return withLeaseOptions(
    new Command('abort')
      .description('it was certainly not done')
      .argument('<key>')
      .argument('<begin-id>', 'as begin printed it'),
  ).action(abortEffect)
}

function resolve(): Command {
  return withClientOptions(
    new Command('resolve')
      .description('say whether what is in doubt was done; audited')
      .argument('<job>')
      .argument('<key>')
      .requiredOption('--outcome <outcome>', 'committed: it was done; aborted: it was not')
      .option('--result <json>', 'with committed: what a later attempt is told', json)
      .requiredOption('--note <text>', 'how it is known'),
  ).action(resolveEffect)
}

async function beginEffect(key: string, flags: BeginFlags) {
  const { jobId, lease } = leaseOf(flags)
  const begin_id = flags.beginId ?? randomUUID()
  await useClient(flags, async (client) => {
    const begun = await client.beginEffect(jobId, key, {
      ...lease,
      begin_id,
      on_doubt: flags.onDoubt,
    })
    if (flags.json) return printJson({ ...begun, begin_id })
    const { outcome, effect_token, result } = begun
    const rest = outcome === 'committed' ? JSON.stringify(result) : `${begin_id} ${effect_token}`
    printLines([`${outcome} ${rest}`])
  })
}

async function commitEffect(key: string, begin_id: string, flags: CommitFlags) {
  const { jobId, lease } = leaseOf(flags)
  await useClient(flags, async (client) => {
    const { result } = flags
    const effect = await client.commitEffect(jobId, key, { ...lease, begin_id, result })
    if (flags.json) printJson({ effect })
    else printLines([`${key} is committed`])
  })
}

async function abortEffect(key: string, begin_id: string, flags: LeaseFlags) {
  const { jobId, lease } = leaseOf(flags)
  await useClient(flags, async (client) => {
    const effect = await client.abortEffect(jobId, key, { ...lease, begin_id })
    if (flags.json) printJson({ effect })
    else printLines([`${key} is aborted`])
  })
}

async function resolveEffect(job: string, key: string, flags: ResolveFlags) {
  await useClient(flags, async (client) => {
    const { outcome, result, note } = flags
    const effect = await client.resolveEffect(job, key, { outcome, result, note })
    if (flags.json) printJson({ effect })
    else printLines([`${key} is ${effect.state}`])
  })
}

async function listEffects(job: string, flags: ListFlags) {
  await useClient(flags, async (client) => {
    const list = await client.listEffects(job, { cursor: flags.cursor })
    if (flags.json) return printJson(list)
    const late = new Map(list.late_effects.map(({ key, outcome }) => [key, outcome]))
    printLines(
      table(
        ['key', 'state', 'on doubt', 'executor', 'fence', 'begun', 'its executor said, too late'],
        list.effects.map((effect) => [
          effect.key,
          effect.holds ? `${effect.state}, the job waits` : effect.state,
          effect.on_doubt,
          effect.executor_id,
          effect.fence,
          ago(effect.begun_at),
          late.get(effect.key) ?? null,
        ]),
      ),
    )
    if (list.next_cursor !== null) printLines(['', `more: --cursor ${list.next_cursor}`])
  })
}
