#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { agentCommand } from './commands/agent.ts'
import { demoCommand } from './commands/demo.ts'
import { devCommand } from './commands/dev.ts'
import { jobCommand } from './commands/job.ts'
import { migrateCommand } from './commands/migrate.ts'
import { serveCommand } from './commands/serve.ts'
import { statusCommand } from './commands/status.ts'
import { submitCommand } from './commands/submit.ts'
import { tokenCommand } from './commands/token.ts'
import { exitCodes, exitCodesHelp, report } from './exit.ts'

/** Every command of `understudy`. */
export function createProgram(): Command {
  const program = new Command('understudy')
    .description('Control plane for fleets of executor agents')
    .version('0.1.0')
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
    statusCommand(),
    tokenCommand(),
  ]
  for (const command of commands) program.addCommand(command)
  for (const command of [program, ...commands.flatMap((each) => [each, ...each.commands])]) {
    command.exitOverride()
  }
  return program
}

async function main(): Promise<number> {
  try {
    await createProgram().parseAsync()
    return Number(process.exitCode ?? exitCodes.ok)
  } catch (error) {
    if (error instanceof CommanderError)
      return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
    return report(error, process.argv.includes('--json'))
  }
}

if (import.meta.main) process.exitCode = await main()
