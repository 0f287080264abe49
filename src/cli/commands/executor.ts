import { Command } from 'commander'
import type { Executor } from '../../contract/executors.ts'
import type { Client } from '../../sdk/index.ts'
import { executorTable } from '../executor-lines.ts'
import { type ClientFlags, useClient, wholeNumber, withClientOptions } from '../options.ts'
import { ago, printJson, printLines, table } from '../print.ts'

interface ReasonFlags extends ClientFlags {
  reason?: string
}

interface HistoryFlags extends ClientFlags {
  limit: number
  cursor?: number
}

export function executorCommand(): Command {
  return new Command('executor')
    .description('see executors, and decide what they are given')
    .addCommand(
      withClientOptions(
        new Command('list').description(
          'list executors: whether they are heard, and how jobs went',
        ),
      ).action(listExecutors),
    )
    .addCommand(
      withClientOptions(
        new Command('get').description('show an executor').argument('<executor>'),
      ).action(getExecutor),
    )
    .addCommand(history())
    .addCommand(
      act('drain', 'give it no new work, also after a restart; audited', (client, id, asked) =>
        client.executors.drain(id, asked),
      ),
    )
    .addCommand(
      act('undrain', 'give it work again; audited', (client, id, asked) =>
        client.executors.drain(id, { enabled: false, ...asked }),
      ),
    )
    .addCommand(
      act('clear', 'take it for healthy, whatever its jobs came to; audited', (client, id, asked) =>
        client.executors.clear(id, asked),
      ),
    )
    .addCommand(deregister())
}

function history(): Command {
  return withClientOptions(
    new Command('history')
      .description('show how an executor was, newest first')
      .argument('<executor>')
      .option('--limit <n>', 'most changes to show', wholeNumber(1, 500), 50)
      .option('--cursor <n>', 'next_cursor of the page before', wholeNumber(1)),
  ).action(showHistory)
}

function deregister(): Command {
  return withReason(
    new Command('deregister')
      .description('cut off its process, and take back what it holds; audited')
      .argument('<executor>')
      .option('--epoch <n>', 'only the process with this epoch', wholeNumber(1)),
  ).action(async (id: string, flags: ReasonFlags & { epoch?: number }) => {
    await useClient(flags, async (client) => {
      const asked = { ...reasonOf(flags), epoch: flags.epoch }
      const gone = await client.executors.deregister(id, asked)
      if (flags.json) printJson(gone)
      else printLines([`epoch ${gone.epoch} of ${gone.executor_id} has ended`])
    })
  })
}

/** What an operator does to an executor, and how it is then. */
function act(
  verb: string,
  description: string,
  call: (client: Client, id: string, asked: { reason?: string }) => Promise<Executor>,
): Command {
  return withReason(new Command(verb).description(description).argument('<executor>')).action(
    async (id: string, flags: ReasonFlags) => {
      await useClient(flags, async (client) => {
        const executor = await call(client, id, reasonOf(flags))
        if (flags.json) printJson(executor)
        else printLines(executorTable([executor]))
      })
    },
  )
}

function withReason(command: Command): Command {
  return withClientOptions(command).option('--reason <text>', 'kept in its history and the audit')
}

function reasonOf({ reason }: ReasonFlags): { reason?: string } {
  return reason === undefined ? {} : { reason }
}

async function listExecutors(flags: ClientFlags) {
  await useClient(flags, async (client) => {
    const list = await client.executors.list()
    if (flags.json) printJson(list)
    else printLines(executorTable(list.executors))
  })
}

async function getExecutor(id: string, flags: ClientFlags) {
  await useClient(flags, async (client) => {
    const executor = await client.executors.get(id)
    if (flags.json) return printJson(executor)
    const fields = Object.entries(executor).map(([name, value]) => [name, shown(value)])
    printLines(table(['field', 'value'], fields))
  })
}

function shown(value: Executor[keyof Executor]): string {
  if (Array.isArray(value)) return value.join(', ')
  return value !== null && typeof value === 'object' ? JSON.stringify(value) : String(value ?? '-')
}

async function showHistory(id: string, flags: HistoryFlags) {
  await useClient(flags, async (client) => {
    const { limit, cursor } = flags
    const page = await client.executors.history(id, { limit, cursor })
    if (flags.json) return printJson(page)
    printLines(
      table(
        ['when', 'epoch', 'what', 'from', 'to', 'reason', 'facts'],
        page.changes.map((change) => [
          ago(change.at),
          change.epoch,
          change.axis,
          change.from,
          change.to,
          change.reason,
          JSON.stringify(change.facts),
        ]),
      ),
    )
    if (page.next_cursor !== null) printLines(['', `older: --cursor ${page.next_cursor}`])
  })
}
