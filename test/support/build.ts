import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type Migration, readMigrations } from '../../src/sql/migrate.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** A change of one file of a build. */
export interface Edit {
  file: string
  /** Stands in the file exactly once. */
  from: string
  to: string
}

/** Another build of the same code base, to run replicas of. */
export interface Build {
  /** Its CLI. */
  program: string
  migrations: Migration[]
}

/** A copy of this build with some edits, and more files. Throws if an edit does not fit: a drill that changes
 *  nothing would prove nothing. */
export async function copyBuild(
  folder: string,
  edits: Edit[],
  added: Record<string, string> = {},
): Promise<Build> {
  await mkdir(folder, { recursive: true })
  for (const part of ['src', 'migrations', 'package.json']) {
    await cp(join(root, part), join(folder, part), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  for (const { file, from, to } of edits) {
    const text = await readFile(join(folder, file), 'utf8')
    if (text.split(from).length !== 2) throw new Error(`${file} has not exactly one: ${from}`)
    await writeFile(
      join(folder, file),
      text.replace(from, () => to),
    )
  }
  for (const [file, text] of Object.entries(added)) await writeFile(join(folder, file), text)
  return {
    program: join(folder, 'src/cli/main.ts'),
    migrations: await readMigrations(pathToFileURL(join(folder, 'migrations/'))),
  }
}
