import { Command } from 'commander'
import { wholeNumber } from '../options.ts'

export function demoCommand(): Command {
  return new Command('demo')
    .description('work through a failover: hash a directory tree while the active is killed')
    .option('--dir <dir>', 'one job per file in it, at most 5000', 'node_modules')
    .option('--executors <n>', 'how many executors work', wholeNumber(2, 64), 4)
    .option('--json', 'print the outcome as JSON')
    .action(async (flags: { dir: string; executors: number; json?: boolean }) => {
      const { runDemo } = await import('../../dev/demo.ts')
      process.exitCode = await runDemo(flags)
    })
}
