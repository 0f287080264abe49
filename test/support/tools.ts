import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Tools of these tests, and the packages of Debian that have them. */
const packages = {
  faketime: 'faketime',
  haproxy: 'haproxy',
  pgbouncer: 'pgbouncer',
  unshare: 'util-linux',
} as const

/** The path of a tool. A test whose tool is missing fails, and says where to get it. */
export function findTool(name: keyof typeof packages): string {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
  if (!found) throw new Error(`${name} is not installed: apt-get install ${packages[name]}`)
  return found
}
