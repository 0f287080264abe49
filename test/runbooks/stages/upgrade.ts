import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cliPath } from '../../../src/dev/replica-process.ts'
import { version } from '../../../src/version.ts'
import type { Name, Staging } from '../ground.ts'

const checkout = fileURLToPath(new URL('../../..', import.meta.url))

/** The next build: this one with another version and one migration more. Returns its command. */
function makeNextBuild(folder: string): string {
  for (const part of ['src', 'migrations', 'package.json']) {
    cpSync(join(checkout, part), join(folder, part), { recursive: true })
  }
  symlinkSync(join(checkout, 'node_modules'), join(folder, 'node_modules'))
  const file = join(folder, 'src/version.ts')
  writeFileSync(file, readFileSync(file, 'utf8').replace(version, '0.2.0'))
  addMigration(folder, '0004_notes', 'no', 'ALTER TABLE jobs ADD COLUMN note text;')
  return join(folder, 'src/cli/main.ts')
}

function addMigration(folder: string, name: string, breaking: string, sql: string) {
  const head = `-- purpose: an example\n-- breaking: ${breaking}\n\n`
  writeFileSync(join(folder, 'migrations', `${name}.sql`), `${head}${sql}\n`)
}

export const upgrade: Staging = (ground) => {
  const folder = join(ground.folder, 'next')
  let next = ''
  const change = async (name: Name, cli: string) => {
    await ground.stop(name)
    await ground.start(name, { cli })
    ground.lookAt(name)
  }
  return {
    'the new build is unpacked': async () => {
      await ground.startPair()
      next = makeNextBuild(folder)
      ground.env.FOLDER = folder
    },
    'the new build is on the path': async () => ground.useBuild(next),
    'the standby has the new build': () => change('two', next),
    'so has the other': () => change('one', next),
    'two has the old build again': () => change('two', cliPath),
    'the new build breaks with the old one': async () => {
      addMigration(folder, '0005_break', 'yes', 'ALTER TABLE jobs DROP COLUMN note;')
    },
    'the replicas have noticed': async () => {
      const { api } = ground.replica('two')
      await ground.until(async () => (await api.get('/health/ready')).status === 503)
    },
    'all have the newest build': async () => {
      await Promise.all([ground.stop('one'), ground.stop('two')])
      await (await ground.start('one', { cli: next })).api.untilActive()
      await ground.start('two', { cli: next })
    },
  }
}
