import { Command, Option } from 'commander'
import { wholeNumber } from '../options.ts'

interface DemoFlags {
  dir: string
  executors: number
  deploy?: boolean
  json?: boolean
}

export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'work through a failover: hash a directory tree, or deploy, while the active is killed',
    )
    .option('--dir <dir>', 'one job per file in it, at most 5000', 'node_modules')
    .option('--executors <n>', 'how many executors work', wholeNumber(2, 64), 4)
    .addOption(
      new Option(
        '--deploy',
        'instead: two releases of four stages; the active is killed during the first deploy, the second is cancelled in the middle of its own',
      ).conflicts(['dir', 'executors']),
    )
    .option('--json', 'print the outcome as JSON')
    .action(async (flags: DemoFlags) => {
      if (flags.deploy) {
        const { runDeployDemo } = await import('../../dev/deploy-demo.ts')
        process.exitCode = await runDeployDemo(flags)
        return
      }
      const { runDemo } = await import('../../dev/demo.ts')
      process.exitCode = await runDemo(flags)
    })
}
