import { readFile, rm, writeFile } from 'node:fs/promises'
import { Command } from 'commander'
import { makeFolder } from '../support/make-folder.ts'
import { positive, say, show } from '../support/terminal.ts'
import type { Bench, Effort } from './bench.ts'
import { benches } from './benches/all.ts'
import { judge, type Result } from './figures.ts'
import { thisMachine } from './machine.ts'
import { renderTables, withTables } from './page.ts'
import { resultLines } from './print.ts'
import { Stage } from './stage.ts'

/** `npm run bench`: what it costs, next to the libraries that talk to Postgres directly, and next to the goals. */

interface Flags {
  rounds: number
  short?: boolean
  json?: string
  docs?: boolean
  list?: boolean
}

const page = new URL('../../docs/performance.md', import.meta.url)
/** What each bench last came to, of those that were written into the page. */
const measured = new URL('measured.json', import.meta.url)

const program = new Command('bench')
  .description(
    'measure, next to pg-boss and graphile-worker on the same Postgres, and next to the goals',
  )
  .argument('[names...]', 'default: all')
  .option('--rounds <n>', 'of each; figures are medians', positive, 5)
  .option('--short', 'as little as possible of everything: only to see that it works')
  .option('--json <file>', 'write the results there')
  .option('--docs', 'write them into docs/performance.md')
  .option('--list', 'say which there are')
  .action(main)
await program.parseAsync()

async function main(names: string[], flags: Flags): Promise<void> {
  if (flags.list) return say(...benches.map(({ name, title }) => `${name.padEnd(14)} ${title}`))
  const results: Result[] = []
  for (const bench of chosen(names)) {
    const result = await measure(bench, flags)
    say(...resultLines(result))
    results.push(result)
  }
  if (flags.json) await writeFile(flags.json, toText(results))
  if (flags.docs) await writeDocs(results)
  const goals = results.flatMap((result) => result.goals)
  const kept = goals.filter(({ isKept }) => isKept)
  if (!flags.short) say(`${kept.length} of ${goals.length} goals kept`)
}

/** Benches that were not run keep what they came to before. */
async function writeDocs(results: Result[]): Promise<void> {
  const before: Result[] = JSON.parse(await readFile(measured, 'utf8'))
  const known = new Map([...before, ...results].map((result) => [result.bench, result]))
  const names = benches.map(({ name }) => name)
  const all = names.flatMap((name) => known.get(name) ?? [])
  await writeFile(measured, toText(all))
  await writeFile(page, withTables(await readFile(page, 'utf8'), renderTables(all, names)))
}

function toText(results: Result[]): string {
  return `${JSON.stringify(results, undefined, 2)}\n`
}

async function measure(bench: Bench, { rounds, short = false }: Flags): Promise<Result> {
  const folder = makeFolder(`bench-${bench.name}`)
  const since = performance.now()
  const stage = await Stage.set(folder, bench.settings)
  try {
    const [server] = await stage.sql<{ server_version: string }>('postgres', 'SHOW server_version')
    const machine = thisMachine(server?.server_version ?? '')
    const effort: Effort = {
      rounds: short ? 1 : rounds,
      isShort: short,
      step: (text) => show(`${bench.name}: ${text}`),
    }
    const series = await bench.run(stage, effort)
    const { name, title, how, goals } = bench
    const seconds = (performance.now() - since) / 1_000
    const judged = judge(short ? [] : goals, series)
    return { bench: name, title, how, series, goals: judged, seconds, machine }
  } finally {
    show('')
    await stage.strike()
    await rm(folder, { recursive: true, force: true })
  }
}

function chosen(names: string[]): Bench[] {
  const known = benches.map(({ name }) => name)
  const unknown = names.filter((name) => !known.includes(name))
  if (unknown.length > 0) {
    program.error(`there is no ${unknown.join(', ')}; there are ${known.join(', ')}`)
  }
  return names.length === 0 ? benches : benches.filter(({ name }) => names.includes(name))
}
