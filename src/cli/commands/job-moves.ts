import { Command } from 'commander'
import type { Move } from '../../contract/transitions.ts'
import type { Client } from '../../sdk/index.ts'
import { UsageError } from '../exit.ts'
import { type ClientFlags, useClient, wholeNumber, withClientOptions } from '../options.ts'
import { ago, printJson, printLines, table } from '../print.ts'

interface MoveFlags extends ClientFlags {
  from: string
  to: string
  move?: number
  reason?: string
  key?: string
}

interface ApproveFlags extends Omit<MoveFlags, 'from' | 'to'> {
  stage: string
}

interface AbandonFlags extends ClientFlags {
  note: string
}

interface ListFlags extends ClientFlags {
  cursor?: number
}

/** How people move jobs between their stages. */
export function moveCommands(): Command[] {
  return [approve(), move(), abandon(), moves()]
}

function approve(): Command {
  return withMoveOptions(
    new Command('approve')
      .description('let a job that waits at a manual stage go on; audited')
      .argument('<id>')
      .requiredOption('--stage <stage>', 'the stage that is approved'),
  ).action(approveStage)
}

function move(): Command {
  return withMoveOptions(
    new Command('move')
      .description('move a job to another stage, on or back; audited')
      .argument('<id>')
      .requiredOption('--from <stage>', 'where it is')
      .requiredOption('--to <stage>', 'another stage; succeeded from the last, failed to reject'),
  ).action(moveJob)
}

function abandon(): Command {
  return withClientOptions(
    new Command('abandon')
      .description('take the next move of a job from whoever owns it; audited')
      .argument('<id>')
      .requiredOption('--note <text>', 'why'),
  ).action(abandonTransition)
}

function moves(): Command {
  return withClientOptions(
    new Command('moves')
      .description('show each move of a job between its stages')
      .argument('<id>')
      .option('--cursor <n>', 'next_cursor of the page before', wholeNumber(0)),
  ).action(listMoves)
}

function withMoveOptions(command: Command): Command {
  return withClientOptions(command)
    .option('--reason <text>', 'kept with the move and in the audit')
    .option('--move <n>', 'only at this visit: `move` of the job as you saw it', wholeNumber(0))
    .option('--key <key>', 'idempotency key: sent again, it is answered as the first time')
}

async function approveStage(id: string, { stage, ...flags }: ApproveFlags) {
  await useClient(flags, async (client) => {
    const { stages } = await client.getJob(id)
    const index = stages.findIndex(({ name }) => name === stage)
    if (index < 0) throw new UsageError(`--stage: the job has no stage ${stage}`)
    if (!stages[index]?.manual)
      throw new UsageError(`--stage: ${stage} is not manual; see job move`)
    const to = stages[index + 1]?.name ?? 'succeeded'
    await transition(client, id, { ...flags, from: stage, to })
  })
}

async function moveJob(id: string, flags: MoveFlags) {
  await useClient(flags, (client) => transition(client, id, flags))
}

async function transition(client: Client, id: string, flags: MoveFlags) {
  const { job, moved, replayed } = await client.transitions.move(id, {
    expected_stage: flags.from,
    to: flags.to,
    ...(flags.move !== undefined && { expected_move: flags.move }),
    ...(flags.reason !== undefined && { reason: flags.reason }),
    ...(flags.key !== undefined && { idempotency_key: flags.key }),
  })
  if (flags.json) return printJson({ job, moved, replayed: replayed ?? false })
  const before = replayed ? ', as it was before' : ''
  printLines([`moved from ${moved.from_stage} to ${moved.to_stage}${before}; it is ${job.state}`])
}

async function abandonTransition(id: string, { note, json, ...flags }: AbandonFlags) {
  await useClient(flags, async (client) => {
    const { transition } = await client.getJob(id)
    // From whom the operator has seen, and nobody who came after.
    const whose = transition && { owner: transition.owner, boot_id: transition.boot_id }
    const job = await client.transitions.abandon(id, { force: true, note, ...whose })
    if (json) printJson({ job })
    else printLines([`nobody owns its next move; it is ${job.state} at stage ${job.stage}`])
  })
}

async function listMoves(id: string, { cursor, json, ...flags }: ListFlags) {
  await useClient(flags, async (client) => {
    const list = await client.transitions.list(id, { cursor })
    if (json) return printJson(list)
    const rows = list.moves.map((each) => [
      each.move,
      each.from_stage,
      each.to_stage,
      by(each),
      each.reason,
      ago(each.at),
    ])
    printLines(table(['move', 'from', 'to', 'by', 'reason', 'when'], rows))
    if (list.next_cursor !== null) printLines(['', `more: --cursor ${list.next_cursor}`])
  })
}

function by({ by, fence, token_id }: Move): string {
  return by === 'report' ? `its executor, fence ${fence}` : `${by}, token ${token_id}`
}
