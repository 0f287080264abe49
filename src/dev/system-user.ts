import { spawn } from 'node:child_process'
import { chown } from 'node:fs/promises'

/** Postgres refuses to run as root: then it runs as a system user, made if need be. */
export interface SystemUser {
  name: string
  ids: { uid: number; gid: number }
}

const name = 'postgres'

/** Undefined where this process is not root and can run Postgres itself. */
export async function findSystemUser(): Promise<SystemUser | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const known = await lookUp()
  if (known) return known
  await runAs(undefined, 'useradd', ['--system', '--no-create-home', '--shell', '/bin/false', name])
  const made = await lookUp()
  if (!made) throw new Error(`the system user ${name} could not be made`)
  return made
}

async function lookUp(): Promise<SystemUser | undefined> {
  try {
    const uid = Number(await runAs(undefined, 'id', ['-u', name]))
    const gid = Number(await runAs(undefined, 'id', ['-g', name]))
    return { name, ids: { uid, gid } }
  } catch {
    return undefined
  }
}

export async function giveTo(user: SystemUser | undefined, ...files: string[]): Promise<void> {
  if (!user) return
  for (const file of files) await chown(file, user.ids.uid, user.ids.gid)
}

/** Runs a command to its end and returns what it printed. Throws with its complaints. */
export async function runAs(
  user: SystemUser | undefined,
  command: string,
  args: string[],
): Promise<string> {
  const child = spawn(command, args, { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], ...user?.ids })
  const printed: Buffer[] = []
  const complaints: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => printed.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => complaints.push(chunk))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) {
    throw new Error(`${command} ended with ${code}: ${Buffer.concat(complaints).toString().trim()}`)
  }
  return Buffer.concat(printed).toString().trim()
}
