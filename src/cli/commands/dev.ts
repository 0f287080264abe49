import { Command } from 'commander'

export function devCommand(): Command {
  return new Command('dev')
    .description('run everything here: Postgres, two replicas and an agent, with a live board')
    .action(async () => {
      const { runDev } = await import('../../dev/dev.ts')
      process.exitCode = await runDev()
    })
}
