import { chmodSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** An empty folder for whoever removes it. Where root runs the tests, Postgres is another user, who may enter: its data
 *  would else be put elsewhere, and stay there. */
export function makeFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `understudy-${name}-`))
  if (process.getuid?.() === 0) chmodSync(folder, 0o755)
  return folder
}
