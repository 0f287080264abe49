import { createHash, hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { UsageError } from '../cli/exit.ts'

/** Up to `most` regular files of a tree, in a stable order. */
export async function listFiles(folder: string, most: number): Promise<string[]> {
  const found: string[] = []
  const open = [resolve(folder)]
  while (open.length > 0 && found.length < most) {
    const here = open.shift() as string
    for (const entry of await readEntries(here)) {
      if (entry.isDirectory()) open.push(join(here, entry.name))
      else if (entry.isFile()) found.push(join(here, entry.name))
    }
  }
  if (found.length === 0) throw new UsageError(`--dir ${folder}: there are no files in it`)
  return found.slice(0, most)
}

async function readEntries(folder: string) {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch (error) {
    throw new UsageError(`--dir: ${folder} cannot be read: ${(error as Error).message}`)
  }
}

/** Larger files are not held in memory. */
const readWholeBytes = 1024 * 1024

/** The SHA-256 of a file, as hex. */
export async function hashOf(file: string, signal?: AbortSignal): Promise<string> {
  const { size } = await stat(file)
  if (size <= readWholeBytes) return hash('sha256', await readFile(file))
  const streamed = createHash('sha256')
  await pipeline(createReadStream(file), streamed, signal ? { signal } : {})
  return streamed.digest('hex')
}
