import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cliPath } from '../../../src/dev/replica-process.ts'
import { version } from '../../../src/version.ts'
import { type Build, copyBuild } from '../../support/build.ts'
import type { Name, Staging } from '../ground.ts'

const migrationOf = (breaking: string, sql: string) =>
  `-- purpose: an example\n-- breaking: ${breaking}\n\n${sql}\n`

const ours = readdirSync(new URL('../../../migrations', import.meta.url)).length

/** A migration after ours. */
const fileOf = (number: number, name: string) =>
  `migrations/${String(ours + number).padStart(4, '0')}_${name}.sql`

/** The next build: this one with another version and one migration more. */
function makeNextBuild(folder: string): Promise<Build> {
  return copyBuild(folder, [{ file: 'src/version.ts', from: `'${version}'`, to: "'0.2.0'" }], {
    [fileOf(1, 'notes')]: migrationOf('no', 'ALTER TABLE jobs ADD COLUMN note text;'),
  })
}

export const upgrade: Staging = (ground) => {
  const folder = join(ground.folder, 'next')
  let next = ''
  const change = async (name: Name, program: string) => {
    await ground.stop(name)
    await ground.startStandby(name, { program })
    ground.lookAt(name)
  }
  return {
    'the new build is unpacked': async () => {
      await ground.startPair()
      next = (await makeNextBuild(folder)).program
      ground.env.FOLDER = folder
    },
    'the new build is on the path': async () => ground.useBuild(next),
    'the standby has the new build': () => change('two', next),
    'so has the other': () => change('one', next),
    'two has the old build again': () => change('two', cliPath),
    'the new build breaks with the old one': async () => {
      const sql = 'ALTER TABLE jobs DROP COLUMN note;'
      await writeFile(join(folder, fileOf(2, 'break')), migrationOf('yes', sql))
    },
    'the replicas have noticed': async () => {
      const { api } = ground.replica('two')
      await ground.until(async () => (await api.get('/health/ready')).status === 503)
    },
    'all have the newest build': async () => {
      await Promise.all([ground.stop('one'), ground.stop('two')])
      await (await ground.start('one', { program: next })).api.untilActive()
      await ground.startStandby('two', { program: next })
    },
  }
}
