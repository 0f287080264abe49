import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type ClientEnv, loadClientEnv } from '../config.ts'
import { UsageError } from './exit.ts'

/** Where the replicas are, and what to show them. */
export interface Connection {
  urls: string[]
  token: string
}

/** `understudy dev` writes this file, and every command started below its folder finds it. */
const name = join('.understudy', 'connection.json')

export async function writeConnection(folder: string, connection: Connection): Promise<string> {
  const file = join(folder, name)
  await mkdir(dirname(file), { recursive: true })
  // Made anew: the mode of an old file would stay as it was.
  await rm(file, { force: true })
  await writeFile(file, `${JSON.stringify(connection, null, 2)}\n`, { mode: 0o600 })
  return file
}

export async function removeConnection(folder: string): Promise<void> {
  await rm(join(folder, name), { force: true })
}

/** Flags first, then the environment, then the file of a running `understudy dev`. */
export function findConnection(flags: { urls?: string; token?: string }): Connection {
  const given = loadClientEnv({
    ...(flags.urls === undefined ? {} : { UNDERSTUDY_URLS: flags.urls }),
    ...(flags.token === undefined ? {} : { UNDERSTUDY_TOKEN: flags.token }),
  })
  const env = loadClientEnv()
  const told = { urls: given.urls ?? env.urls, token: given.token ?? env.token }
  const file = told.urls && told.token ? undefined : findFile()
  const urls = told.urls ?? file?.urls
  const token = told.token ?? file?.token
  if (!urls) throw new UsageError(`no replicas are known: ${howTo('--urls', 'UNDERSTUDY_URLS')}`)
  if (!token) throw new UsageError(`no token is known: ${howTo('--token', 'UNDERSTUDY_TOKEN')}`)
  return { urls, token }
}

function howTo(flag: string, variable: string): string {
  return `give ${flag} or ${variable}, or run this in the folder of a running \`npm start\``
}

function findFile(): ClientEnv | undefined {
  for (let folder = resolve('.'); ; folder = dirname(folder)) {
    const file = join(folder, name)
    if (existsSync(file)) return readConnection(file)
    if (folder === dirname(folder)) return undefined
  }
}

function readConnection(file: string): ClientEnv {
  try {
    const { urls, token } = JSON.parse(readFileSync(file, 'utf8')) as Connection
    return loadClientEnv({ UNDERSTUDY_URLS: urls.join(), UNDERSTUDY_TOKEN: token })
  } catch (error) {
    throw new UsageError(`${file} cannot be used, remove it: ${(error as Error).message}`)
  }
}
