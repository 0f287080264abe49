import { Command } from 'commander'
import { ConfigError, loadDatabaseUrl } from '../../config.ts'
import { printJson, printLines } from '../print.ts'

export function migrateCommand(): Command {
  return new Command('migrate')
    .description('bring the schema of DATABASE_URL up to this build')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const url = loadDatabaseUrl()
      if (url === undefined) throw new ConfigError(['DATABASE_URL is not set'])
      const { migrate } = await import('../../sql/migrate.ts')
      const say = (line: string) => process.stderr.write(`${line}\n`)
      const applied = await migrate({ url, onProgress: say })
      if (json) printJson({ applied })
      else printLines([applied.length > 0 ? 'the schema is up to date now' : 'nothing to do'])
    })
}
