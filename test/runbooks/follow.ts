import { onTestFailed } from 'vitest'
import { difference } from './compare.ts'
import type { Ground, Stages } from './ground.ts'
import type { Block } from './parse.ts'

/** Follows a runbook from its first line to its last. Returns what is not as it says. */
export async function follow(file: string, blocks: Block[], ground: Ground, stages: Stages) {
  const faults: string[] = []
  const entered = new Set<string>()
  let at = 'before its first line'
  onTestFailed(() => {
    process.stderr.write(`${file}: came to ${at}\n`)
  })
  for (const block of blocks) {
    at = `line ${block.line}`
    for (const name of block.stages) {
      const stage = stages[name]
      if (!stage) throw new Error(`${file}:${block.line}: nobody stages ${JSON.stringify(name)}`)
      at = `the stage ${JSON.stringify(name)}`
      await stage()
      entered.add(name)
    }
    if (block.notRun !== undefined) continue
    const printed = await ground.run(block)
    const wrong = difference(block.shown ?? '', printed)
    if (wrong) faults.push(`${file}:${block.line}\n${block.text}\n${wrong}`)
  }
  const idle = Object.keys(stages).filter((name) => !entered.has(name))
  return [...faults, ...idle.map((name) => `${file}: never staged: ${name}`)]
}
