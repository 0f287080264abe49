import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { makeFolder } from '../support/make-folder.ts'
import { positive, say, show } from '../support/terminal.ts'
import type { Drill } from './drill.ts'
import { drills } from './drills.ts'
import { takeover } from './faults/takeover.ts'
import { compareWithGoals } from './goals.ts'
import { mutations as bugs, runMutations } from './mutations.ts'
import { figuresTable, resultLines } from './print.ts'
import { type DrillResult, runDrill } from './run-drill.ts'

/** `npm run drill`: faults done to real processes, and a verdict on what everybody saw. */

interface Flags {
  out?: string
  keep?: boolean
  json?: string
}

/** Takeovers on one stage: a history is checked with all of it in memory. */
const hundred = 100

const smoke = drills.filter(({ smokeRuns }) => smokeRuns !== undefined)

const program = new Command('drill')
  .description('do faults to real processes under load, and check what everybody saw')
  .enablePositionalOptions()
  .addCommand(
    withFlags(new Command('run').description('drills by name; the default command'))
      .argument('[names...]', 'default: all')
      .option('--smoke', 'those that every change has to pass')
      .option('--list', 'say which there are')
      .option('--times <n>', 'all of it this often', positive, 1)
      .option('--minutes <n>', 'how long random-kills goes on; default: 5', minutes)
      .option('--seed <n>', 'of the dice of random-kills; default: another one each time', whole)
      .action(run),
    { isDefault: true },
  )
  .addCommand(
    withFlags(new Command('figures').description('repeat drills, and compare costs with the goals'))
      .argument('[names...]', 'default: all')
      .option(
        '--runs <n>',
        'of each; default: 30 of kill, hand-over and freeze, 10 of most',
        positive,
      )
      .action(figures),
  )
  .addCommand(
    withFlags(new Command('takeovers').description(`${takeover.title}, again and again`))
      .option('--times <n>', 'how often', positive, 100)
      .action(takeovers),
  )
  .addCommand(
    withFlags(
      new Command('mutations').description('plant bugs: each has to turn the smoke set red'),
    )
      .argument('[names...]', 'default: all')
      .action(mutations),
  )
await program.parseAsync()

interface RunFlags extends Flags {
  smoke?: boolean
  list?: boolean
  times: number
  minutes?: number
  seed?: number
}

async function run(names: string[], flags: RunFlags): Promise<void> {
  if (flags.list) return say(...drills.map(({ name, title }) => `${name.padEnd(22)} ${title}`))
  const set = flags.smoke && names.length === 0 ? smoke : chosen(names, drills)
  const jobs = Array.from({ length: flags.times }, () => set).flat()
  await conclude(
    await performAll(jobs, flags, (drill) => (flags.smoke && drill.smokeRuns) || 1),
    flags,
  )
}

async function figures(names: string[], flags: Flags & { runs?: number }): Promise<void> {
  const runsOf = (drill: Drill) => flags.runs ?? drill.figureRuns ?? 10
  const results = await performAll(chosen(names, drills), flags, runsOf)
  say('', ...figuresTable(results), '', ...compareWithGoals(results))
  await conclude(results, flags)
}

async function takeovers(flags: Flags & { times: number }): Promise<void> {
  const stages = Array.from({ length: Math.ceil(flags.times / hundred) }, () => takeover)
  const runsOf = (_: Drill, index: number) => Math.min(hundred, flags.times - index * hundred)
  const results = await performAll(stages, flags, runsOf)
  const fenced = results.reduce((sum, { ends }) => sum + (ends.fenced ?? 0), 0)
  say('', `${fenced} predecessors tried to write after a promotion, and were stopped by the fence`)
  await conclude(results, flags)
}

async function mutations(names: string[], flags: Flags): Promise<void> {
  const folder = folderOf(flags)
  const results = await runMutations(chosen(names, bugs), smoke, {
    folder,
    keep: flags.keep ?? false,
    say,
  })
  if (flags.json) await writeFile(flags.json, `${JSON.stringify(results, undefined, 2)}\n`)
  await removeIfEmpty(folder)
  process.exitCode = results.every(({ foundBy }) => foundBy) ? 0 : 1
}

/** One after the other; what a green drill wrote goes, what a red one wrote stays. */
async function performAll(
  set: Drill[],
  flags: Flags & Pick<RunFlags, 'minutes' | 'seed'>,
  runsOf: (drill: Drill, index: number) => number,
): Promise<DrillResult[]> {
  const results: DrillResult[] = []
  const all = folderOf(flags)
  for (const [index, drill] of set.entries()) {
    const folder = join(all, `${index + 1}-${drill.name}`)
    const onStep = (step: string) => show(`${index + 1} of ${set.length}: ${drill.name}: ${step}`)
    const { minutes, seed } = flags
    const runs = runsOf(drill, index)
    const result = await runDrill(drill, { folder, runs, minutes, seed, onStep })
    show('')
    say(...resultLines(result))
    results.push(result)
    if (result.ok && !flags.keep) await rm(folder, { recursive: true, force: true })
  }
  await removeIfEmpty(all)
  return results
}

async function conclude(results: DrillResult[], { json }: Flags): Promise<void> {
  if (json) await writeFile(json, `${JSON.stringify(results, undefined, 2)}\n`)
  const red = results.filter(({ ok }) => !ok)
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0)
  say(
    '',
    `${results.length - red.length} of ${results.length} drills passed, ${Math.round(seconds)} s`,
  )
  process.exitCode = red.length > 0 ? 1 : 0
}

/** Those that were named; all, if none was. */
function chosen<Named extends { name: string }>(names: string[], all: Named[]): Named[] {
  const known = all.map(({ name }) => name)
  const unknown = names.filter((name) => !known.includes(name))
  if (unknown.length > 0) {
    program.error(`there is no ${unknown.join(', ')}; there are ${known.join(', ')}`)
  }
  return names.length === 0 ? all : all.filter(({ name }) => names.includes(name))
}

function withFlags(command: Command): Command {
  return command
    .option('--out <folder>', 'where histories and logs go; default: a new one for temporary files')
    .option('--keep', 'keep what green drills wrote, too')
    .option('--json <file>', 'write the results there')
}

async function removeIfEmpty(folder: string): Promise<void> {
  if ((await readdir(folder)).length === 0) await rm(folder, { recursive: true })
}

function folderOf({ out }: Flags): string {
  return out ?? makeFolder('drills')
}

function minutes(text: string): number {
  const value = Number(text)
  if (!(value > 0 && value <= 1_440)) throw new InvalidArgumentError('must be above 0, up to 1440.')
  return value
}

function whole(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError('must be 0 or more.')
  return value
}
