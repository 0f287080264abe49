import { Command } from 'commander'
import { type ClientFlags, useClient, wholeNumber, withClientOptions } from '../options.ts'
import { ago, printJson, printLines, table } from '../print.ts'

interface AuditFlags extends ClientFlags {
  limit: number
  cursor?: number
}

export function auditCommand(): Command {
  return withClientOptions(
    new Command('audit')
      .description('show what people did to the cluster, newest first')
      .option('--limit <n>', 'most entries to show', wholeNumber(1, 500), 50)
      .option('--cursor <n>', 'next_cursor of the page before', wholeNumber(1)),
  ).action(async (flags: AuditFlags) => {
    await useClient(flags, async (client) => {
      const { limit, cursor } = flags
      const page = await client.listAudit({ limit, ...(cursor === undefined ? {} : { cursor }) })
      if (flags.json) return printJson(page)
      printLines(
        table(
          ['when', 'action', 'subject', 'by token', 'role', 'request', 'reason'],
          page.entries.map((entry) => [
            ago(entry.at),
            entry.action,
            entry.subject,
            entry.token_id,
            entry.role,
            entry.request_id,
            entry.reason,
          ]),
        ),
      )
      if (page.next_cursor !== null) printLines(['', `older: --cursor ${page.next_cursor}`])
    })
  })
}
