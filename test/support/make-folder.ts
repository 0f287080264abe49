import { chmodSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** An empty folder for whoever removes it. Others may enter: Postgres is another user where root runs the tests, and
 *  its data would else be put elsewhere, and stay there. */
export function makeFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `understudy-${name}-`))
  chmodSync(folder, 0o755)
  return folder
}
