import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { printLines, table } from '../../src/cli/print.ts'
import { explore, type Found } from './explore.ts'
import { openGround } from './ground.ts'
import { emptinessOf } from './vacuity.ts'
import { World } from './world.ts'

const usage = `npm run test:model -- [options]

Runs sequences of calls drawn by lot against two real replicas on a real Postgres, and against a model of what
they promise; see test/job-model/README.md. The one that fails is shrunk and told.

  --runs <n>   sequences (300)
  --seed <n>   draw as another run did; it prints its own
  --path <p>   with --seed: only the sequence that failed there
  --shrink-s <n>
               seconds that one which fails is made shorter (120)
  --help       this text

Exit code 0: they agree; 1: they do not, or this could not be asked.
`

function parse() {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '300' },
      seed: { type: 'string' },
      path: { type: 'string' },
      'shrink-s': { type: 'string', default: '120' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const runs = Number(values.runs)
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error('--runs is a whole number above 0')
  const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed)
  if (!Number.isSafeInteger(seed)) throw new Error('--seed is a whole number')
  const shrinkMs = Number(values['shrink-s']) * 1_000
  if (!(shrinkMs >= 0)) throw new Error('--shrink-s is a number of seconds')
  if (values.path !== undefined && values.seed === undefined) throw new Error('--path needs --seed')
  return { runs, seed, shrinkMs, path: values.path, help: values.help }
}

const tellEveryMs = 10_000

function progress(runs: number) {
  const startedAt = performance.now()
  let toldAt = startedAt
  return (done: number) => {
    const now = performance.now()
    if (now - toldAt < tellEveryMs) return
    toldAt = now
    const seconds = Math.round((now - startedAt) / 1_000)
    process.stderr.write(`${done} of ${runs} sequences, ${seconds} s\n`)
  }
}

function tell({ runs, tally, failure }: Found, seed: number, seconds: number): void {
  const rows = [...tally].sort(([a], [b]) => (a < b ? -1 : 1))
  const calls = rows.reduce((sum, [, count]) => sum + count, 0)
  if (!failure) printLines(table(['CALL', 'TIMES'], rows))
  printLines([`${runs} sequences, ${calls} calls, ${seconds} s, seed ${seed}`])
  if (!failure) return
  printLines([
    `FAILED; made shorter in ${failure.tries} tries:`,
    '',
    ...failure.story,
    '',
    `again: npm run test:model -- --seed ${seed} --path ${failure.path}`,
  ])
}

async function main(): Promise<number> {
  const { help, ...options } = parse()
  if (help) {
    process.stdout.write(usage)
    return 0
  }
  const startedAt = performance.now()
  const ground = await openGround()
  try {
    const world = await World.open(ground.url)
    try {
      const found = await explore(world, {
        ...options,
        onRun: progress(options.runs),
        onFailure: () => process.stderr.write('one failed; it is made shorter\n'),
      })
      tell(found, options.seed, Math.round((performance.now() - startedAt) / 1_000))
      const reasons = emptinessOf(found)
      printLines(reasons.map((reason) => `FAILED; ${reason}`))
      return found.failure || reasons.length > 0 ? 1 : 0
    } finally {
      await world.close()
    }
  } finally {
    await ground.close()
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${(error as Error).stack}\n`)
  process.exitCode = 1
}
