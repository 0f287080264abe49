import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import type { Variant } from './variants.ts'

/** Builds the model's verifier for one variant, runs it, and reads what it says. */
export interface Finding {
  /** The comment beside the assert that failed, or what else the verifier complained of; null: no error. */
  error: string | null
  /** Every reachable state was visited, if there was no error to stop at. */
  isExhaustive: boolean
  states: number
  memoryMb: number
  seconds: number
  /** What happens on the way to the error, one line per step. */
  story: string[]
}

const model = fileURLToPath(new URL('../../docs/model/leadership.pml', import.meta.url))
const file = 'leadership.pml'
const memoryMb = 4_000
/** Asked of the verifier: so deep a search, and a hash table of 2^24 slots. */
const pan = ['-m100000', '-w24']

export function check(variant: Variant, limitS: number): Finding {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-model-'))
  try {
    copyFileSync(model, join(folder, file))
    return explore(variant, folder, limitS)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function explore({ defines, expected }: Variant, folder: string, limitS: number): Finding {
  const given = defines.map((name) => `-D${name}`)
  // spin calls gcc itself, and would hide that it is not there.
  run('gcc', ['--version'], folder)
  run('spin', ['-a', ...given, file], folder)
  // Where an error is expected: breadth first, so that its story is as short as can be.
  const order = expected === null ? [] : ['-DBFS']
  const flags = ['-w', '-O2', '-DSAFETY', `-DMEMLIM=${memoryMb}`, ...order, '-o', 'pan', 'pan.c']
  run('gcc', flags, folder)
  const startedAt = performance.now()
  const said = run('./pan', pan, folder, limitS)
  const seconds = (performance.now() - startedAt) / 1_000
  const hasTrail = existsSync(join(folder, `${file}.trail`))
  const told = hasTrail ? run('spin', ['-t', '-T', ...given, file], folder) : ''
  return { ...readVerdict(said, told), seconds, story: readStory(told) }
}

function readVerdict(said: string, told: string) {
  const states = said.match(/^ *(\d+) states, stored/m)?.[1]
  const memory = said.match(/^ *([\d.]+)\ttotal actual memory usage/m)?.[1]
  const complaint = said.match(/^pan:1: (.*)$/m)?.[1] ?? null
  const cutShort = /max search depth too small|Search not completed|out of memory|MEMLIM|aborted/
  const isComplete = /errors: 0\b/.test(said) && !cutShort.test(said)
  return {
    error: complaint === null ? null : (failedAssert(told) ?? complaint),
    isExhaustive: isComplete,
    states: Number(states ?? 0),
    memoryMb: Number(memory ?? 0),
  }
}

/** The comment on the line where the run ends: it names the property. */
function failedAssert(told: string): string | undefined {
  const line = told.match(/leadership\.pml:(\d+), Error: assertion violated/)?.[1]
  if (!line) return undefined
  const text = readFileSync(model, 'utf8').split('\n')[Number(line) - 1]
  return text?.match(/\/\* (.+?) \*\//)?.[1]
}

/** A replay goes on for a line or two after the assert that ended the search. */
function readStory(told: string): string[] {
  const [before = ''] = told.split(/^spin: /m)
  return before.split('\n').filter((line) => line.trim() !== '')
}

function run(command: string, args: string[], cwd: string, limitS = 120): string {
  const { error, status, signal, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: limitS * 1_000,
    killSignal: 'SIGKILL',
    maxBuffer: 64 * 1_024 * 1_024,
  })
  if (error && 'code' in error) {
    if (error.code === 'ENOENT') {
      throw new Error(`${command} is not installed: apt-get install ${command}`)
    }
    if (error.code === 'ETIMEDOUT') throw new Error(`${command} took longer than ${limitS} s`)
    throw error
  }
  if (status !== 0) throw new Error(`${command} ended with ${signal ?? status}: ${stdout}${stderr}`)
  return stdout
}
