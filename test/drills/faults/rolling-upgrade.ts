import { join } from 'node:path'
import { migrate, readMigrations } from '../../../src/sql/migrate.ts'
import { version } from '../../../src/version.ts'
import { type Build, copyBuild } from '../../support/build.ts'
import type { Drill } from '../drill.ts'
import type { Stage } from '../stage/stage.ts'

export const rollingUpgrade: Drill = {
  name: 'rolling-upgrade',
  title: 'a rolling upgrade to a build with one more migration, and back, under load',
  isOnce: true,
  promotes: true,
  async run(stage) {
    const next = await buildNext(join(stage.folder, 'next'))
    await stage.fault(
      'upgrade',
      'all replicas',
      () => migrate({ url: stage.postgres.url, migrations: next.migrations }),
      async () => {
        await roll(stage, next.program)
        const upgraded = `SELECT FROM replicas WHERE gone_at IS NULL AND version LIKE '%-next'`
        if ((await stage.postgres.count(upgraded)) !== 2)
          throw new Error('the next build does not run')
        await roll(stage)
      },
    )
  },
}

/** One after the other, the standby first; the old build has to go on beside the new schema. */
async function roll(stage: Stage, program?: string): Promise<void> {
  const active = await stage.active()
  const standbys = stage.replicas.filter((replica) => replica !== active)
  for (const replica of [...standbys, active]) {
    replica.kill('SIGTERM')
    await replica.exited()
    replica.start(program)
    await stage.untilWhole()
  }
}

/** This build with a migration that only adds. */
async function buildNext(folder: string): Promise<Build> {
  const number = String((await readMigrations()).length + 1).padStart(4, '0')
  return copyBuild(
    folder,
    [{ file: 'src/version.ts', from: `'${version}'`, to: `'${version}-next'` }],
    {
      [`migrations/${number}_drill.sql`]:
        '-- purpose: a drill\n-- breaking: no\n\nALTER TABLE jobs ADD COLUMN drill text;\n',
    },
  )
}
