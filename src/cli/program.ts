import { Command, CommanderError } from 'commander'
import { version } from '../version.ts'
import { agentCommand } from './commands/agent.ts'
import { auditCommand } from './commands/audit.ts'
import { criticalCommand } from './commands/critical.ts'
import { demoCommand } from './commands/demo.ts'
import { devCommand } from './commands/dev.ts'
import { effectCommand } from './commands/effect.ts'
import { executorCommand } from './commands/executor.ts'
import { jobCommand } from './commands/job.ts'
import { leaderCommand } from './commands/leader.ts'
import { lockCommand } from './commands/lock.ts'
import { migrateCommand } from './commands/migrate.ts'
import { serveCommand } from './commands/serve.ts'
import { statusCommand } from './commands/status.ts'
import { submitCommand } from './commands/submit.ts'
import { tokenCommand } from './commands/token.ts'
import { exitCodes, exitCodesHelp, report, UsageError } from './exit.ts'

/** Every command of `understudy`. */
export function createProgram({ isQuiet = false } = {}): Command {
  const program = new Command('understudy')
    .description('Control plane for fleets of executor agents')
    .version(version)
    .showHelpAfterError()
    .addHelpText('after', exitCodesHelp)
  const commands = [
    serveCommand(),
    migrateCommand(),
    devCommand(),
    demoCommand(),
    agentCommand(),
    submitCommand(),
    jobCommand(),
    effectCommand(),
    criticalCommand(),
    lockCommand(),
    executorCommand(),
    statusCommand(),
    leaderCommand(),
    tokenCommand(),
    auditCommand(),
  ]
  for (const command of commands) program.addCommand(command)
  for (const command of [program, ...commands.flatMap((each) => [each, ...each.commands])]) {
    command.exitOverride()
    if (isQuiet) command.configureOutput({ writeErr: () => undefined })
  }
  return program
}

/** Runs the command line of this process; returns its exit code. */
export async function runCli(): Promise<number> {
  // Whoever reads our output may stop reading: that ends the command, and is no failure. A command that
  // has something to clean up listens for itself.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (process.stdout.listenerCount('error') > 1) return
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error
    process.exit(exitCodes.ok)
  })
  // Nor is it the end of an agent, and of all that it runs, when nobody reads its complaints.
  process.stderr.on('error', () => undefined)
  const asJson = wantsJson(process.argv.slice(2))
  try {
    await createProgram({ isQuiet: asJson }).parseAsync()
    return Number(process.exitCode ?? exitCodes.ok)
  } catch (error) {
    if (!(error instanceof CommanderError)) return report(error, asJson)
    if (error.exitCode === 0) return exitCodes.ok
    // For people, commander has said so itself.
    return asJson ? report(new UsageError(error.message), asJson) : exitCodes.usage
  }
}

/** What comes after -- is not for us. */
function wantsJson(args: string[]): boolean {
  const end = args.indexOf('--')
  return args.slice(0, end < 0 ? args.length : end).includes('--json')
}
