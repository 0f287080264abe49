import { execFile } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** Who runs in this folder: so that a second start is refused by name, and what a start that was killed
 *  left behind is ended by the next. */
export class Running {
  readonly #file: string
  readonly #children = new Set<number>()

  constructor(folder: string) {
    this.#file = join(folder, 'running.json')
  }

  /** The process of a start that still runs. */
  async findOther(): Promise<number | undefined> {
    const { pid } = this.#read()
    return pid !== undefined && (await isOurs(pid)) ? pid : undefined
  }

  /** Ends the children of a start that is gone. Returns how many there were. */
  async endOrphans(): Promise<number> {
    let ended = 0
    for (const pid of this.#read().children ?? []) {
      if (!(await isOurs(pid))) continue
      process.kill(pid, 'SIGKILL')
      ended += 1
    }
    return ended
  }

  addChild(pid: number | undefined): void {
    if (pid !== undefined) this.#children.add(pid)
    writeFileSync(this.#file, JSON.stringify({ pid: process.pid, children: [...this.#children] }))
  }

  clear(): void {
    rmSync(this.#file, { force: true })
  }

  /** A file that was cut short by a crash says nothing. */
  #read(): { pid?: number; children?: number[] } {
    try {
      return JSON.parse(readFileSync(this.#file, 'utf8'))
    } catch {
      return {}
    }
  }
}

/** Numbers of processes are used again: only one that runs this program is meant. */
async function isOurs(pid: number): Promise<boolean> {
  if (pid === process.pid) return false
  try {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'args=', '-p', String(pid)])
    return stdout.includes('cli/main.ts')
  } catch {
    return false
  }
}
