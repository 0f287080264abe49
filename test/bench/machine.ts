import { execFileSync } from 'node:child_process'
import { cpus, release, totalmem } from 'node:os'

/** Where figures come from: without it they say nothing. */
export interface Machine {
  cpu: string
  cores: number
  memoryGiB: number
  system: string
  node: string
  postgres: string
  commit: string
  at: string
}

export function thisMachine(postgres: string): Machine {
  const [cpu] = cpus()
  return {
    cpu: cpu?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${release()}`,
    node: process.version,
    postgres,
    commit: commit(),
    at: new Date().toISOString().slice(0, 16).replace('T', ' '),
  }
}

/** What benches write themselves is no change of what they measure. */
function commit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim()
  try {
    return (
      git('rev-parse', '--short', 'HEAD') +
      (git('status', '--short', '--', ':!docs', ':!test/bench/measured.json') === ''
        ? ''
        : ' with uncommitted changes')
    )
  } catch {
    return 'unknown'
  }
}
