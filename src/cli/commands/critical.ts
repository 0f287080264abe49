import { Command } from 'commander'
import { type LeaseFlags, leaseOf, withLeaseOptions } from '../lease-options.ts'
import { useClient, wholeNumber } from '../options.ts'
import { printJson, printLines } from '../print.ts'

interface EnterFlags extends LeaseFlags {
  ceilingMs?: number
}

export function criticalCommand(): Command {
  return new Command('critical')
    .description('the stretch in which a job must not be interrupted')
    .addCommand(
      withLeaseOptions(
        new Command('enter')
          .description('from here on a cancel waits; refused if one was there first')
          .option('--ceiling-ms <n>', 'longest that it waits; default: 300000', wholeNumber(1)),
      ).action(enter),
    )
    .addCommand(
      withLeaseOptions(
        new Command('leave').description('it is over: prints `left`, or `cancelled REASON`'),
      ).action(leave),
    )
}

async function enter(flags: EnterFlags) {
  const { jobId, lease } = leaseOf(flags)
  await useClient(flags, async (client) => {
    const body = { ...lease, enter: true, ceiling_ms: flags.ceilingMs }
    const section = await client.markCritical(jobId, body)
    if (flags.json) printJson(section)
    else printLines([`critical until ${section.critical_until} at the latest`])
  })
}

async function leave(flags: LeaseFlags) {
  const { jobId, lease } = leaseOf(flags)
  await useClient(flags, async (client) => {
    const section = await client.markCritical(jobId, { ...lease, enter: false })
    if (flags.json) return printJson(section)
    printLines([section.cancel ? `cancelled ${section.cancel.reason}`.trimEnd() : 'left'])
  })
}
