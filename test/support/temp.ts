import { rmSync } from 'node:fs'
import { onTestFinished } from 'vitest'
import { makeFolder } from './make-folder.ts'

/** An empty folder, removed when the test ends. */
export function tempFolder(name: string): string {
  const folder = makeFolder(name)
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
