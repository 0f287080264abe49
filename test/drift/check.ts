import { spawnSync } from 'node:child_process'
import { delimiter } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { root } from './generated.ts'

/** `npm run check`: everything that can be wrong without a test failing. Names as arguments: only those. */
interface Step {
  name: string
  command: string
  /** What usually puts it right. */
  cure?: string
}

const biome = '--config-path=test/drift/lint.json --colors=off .'

const steps: Step[] = [
  { name: 'format', command: `biome format ${biome}`, cure: 'npm run format' },
  { name: 'lint', command: `biome check --formatter-enabled=false ${biome}` },
  { name: 'types', command: 'tsc' },
  { name: 'imports', command: 'node test/drift/imports.ts' },
  { name: 'invariants', command: 'node test/drift/invariants.ts' },
  { name: 'openapi', command: 'node test/drift/openapi.ts', cure: 'npm run openapi' },
  { name: 'schema', command: 'node test/drift/schema.ts', cure: 'npm run schema' },
  { name: 'docs', command: 'node test/drift/docs.ts' },
]

const cwd = fileURLToPath(root)
const path = [fileURLToPath(new URL('node_modules/.bin', root)), process.env.PATH].join(delimiter)

/** Runs a step; what it has to say is shown if it failed, or warns. */
function run({ name, command, cure }: Step): boolean {
  const startedAt = performance.now()
  const { status, stdout, stderr } = spawnSync(command, {
    cwd,
    shell: true,
    encoding: 'utf8',
    env: { ...process.env, PATH: path },
    maxBuffer: 64 * 1_024 * 1_024,
  })
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
  const isGood = status === 0
  say(`${isGood ? 'ok    ' : 'FAILED'}  ${name.padEnd(10)} ${seconds.padStart(5)} s`)
  if (!isGood) say(`${stdout}${stderr}`.trimEnd())
  if (!isGood && cure) say(`cure: ${cure}`)
  return isGood
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !steps.some((step) => step.name === name))
if (unknown.length > 0) {
  say(`no such step: ${unknown.join(', ')}; there are ${steps.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}
const chosen = steps.filter(({ name }) => wanted.length === 0 || wanted.includes(name))
const failed = chosen.filter((step) => !run(step)).map(({ name }) => name)
if (failed.length > 0) say(`\ncheck failed: ${failed.join(', ')}`)
process.exitCode = failed.length > 0 ? 1 : 0
