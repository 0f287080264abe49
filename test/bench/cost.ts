import { readdirSync, readFileSync } from 'node:fs'

/** What processes cost, as Linux counts it. */

/** Seconds of CPU so far, of a process and those of its children that have ended. */
function cpuSeconds(pid: number): number {
  // The name in brackets may hold blanks; what follows it does not.
  const [, rest = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(/\) /)
  const fields = rest.split(' ')
  const ticks = [11, 12, 13, 14].map((at) => Number(fields[at]))
  return ticks.reduce((sum, each) => sum + each, 0) / 100
}

/** Of a server and its sessions. One that ends between two looks is counted by its parent. */
export function cpuOfTree(pid: number): number {
  const children = readdirSync('/proc').filter((name) => parentOf(name) === pid)
  return [pid, ...children.map(Number)].reduce((sum, each) => sum + (tryCpu(each) ?? 0), 0)
}

function parentOf(pid: string): number | undefined {
  if (!/^\d+$/.test(pid)) return undefined
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    return undefined // it ended meanwhile
  }
}

function tryCpu(pid: number): number | undefined {
  try {
    return cpuSeconds(pid)
  } catch {
    return undefined // it ended meanwhile
  }
}

export function residentMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1_024
}

/** Shares of one core that processes take, between two looks. */
export class CpuWatch {
  readonly #pids: Record<string, number>
  #since = performance.now()
  #before: Record<string, number>

  /** By name, the pid of each. */
  constructor(pids: Record<string, number>) {
    this.#pids = pids
    this.#before = this.#read()
  }

  /** In percent of a core, since it was made. */
  shares(): Record<string, number> {
    const seconds = (performance.now() - this.#since) / 1_000
    const now = this.#read()
    return Object.fromEntries(
      Object.entries(now).map(([name, cpu]) => [
        name,
        ((cpu - (this.#before[name] ?? 0)) / seconds) * 100,
      ]),
    )
  }

  #read(): Record<string, number> {
    return Object.fromEntries(
      Object.entries(this.#pids).map(([name, pid]) => [name, cpuOfTree(pid)]),
    )
  }
}
