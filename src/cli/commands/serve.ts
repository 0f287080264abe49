import { Command } from 'commander'

export function serveCommand(): Command {
  return new Command('serve')
    .description('run one replica until SIGTERM or SIGINT; logs are JSON lines on stdout')
    .addHelpText('after', '\nIt is configured by the environment: see docs/configuration.md.')
    .action(async () => {
      const { runReplica } = await import('../../main.ts')
      await runReplica()
    })
}
