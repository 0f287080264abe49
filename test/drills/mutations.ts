// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the edits are source text
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { copyBuild, type Edit } from '../support/build.ts'
import type { Drill } from './drill.ts'
import { runDrill } from './run-drill.ts'

/** A bug that was put in on purpose. */
interface Mutation {
  name: string
  title: string
  edits: Edit[]
  /** The drill of the set that is tried first. */
  first: string
  /** The number of the invariant that it breaks: nothing else counts as found. */
  breaks: number
}

export interface MutationResult {
  mutation: string
  /** The drill that turned red; absent: none did. */
  foundBy?: string
  /** Numbers of the invariants that were seen broken. */
  invariants: number[]
  seconds: number
}

const leadership = 'migrations/0001_leadership.sql'

export const mutations: Mutation[] = [
  {
    name: 'fence',
    title:
      'the fence is out: a writing transaction neither waits for a promotion nor checks its term',
    first: 'takeover',
    breaks: 1,
    edits: [
      {
        file: leadership,
        from: '  PERFORM pg_advisory_xact_lock_shared(1970168947, 1);\n',
        to: '',
      },
      {
        file: leadership,
        from: `    RAISE EXCEPTION 'term % is over', p_term USING ERRCODE = 'UNT01';`,
        to: '    NULL;',
      },
    ],
  },
  {
    name: 'compare-and-set',
    title: "the row's compare-and-set is out: whoever reports on a job that is leased is its owner",
    first: 'freeze-executors',
    breaks: 2,
    edits: [
      {
        file: 'src/domain/report.ts',
        from: `    job.state === 'leased' &&
    job.executor_id === claimed.executorId &&
    job.epoch === claimed.epoch &&
    job.fence === claimed.fence`,
        to: `    job.state === 'leased'`,
      },
    ],
  },
  {
    name: 'idempotency',
    title: 'idempotency is out: a submit that is sent again makes another job',
    first: 'kill-active',
    breaks: 4,
    edits: [
      {
        file: 'migrations/0002_work.sql',
        from: 'CREATE UNIQUE INDEX jobs_idempotency',
        to: 'CREATE INDEX jobs_idempotency',
      },
      {
        file: 'src/sql/submits.ts',
        from: `      ON CONFLICT (queue, idempotency_key)
        WHERE idempotency_key IS NOT NULL AND state <> 'cancelled' DO NOTHING
`,
        to: '',
      },
    ],
  },
  {
    name: 'doubt',
    title: 'what an attempt that was lost may have done is begun again, whatever was said of it',
    first: 'freeze-executors',
    breaks: 5,
    edits: [
      {
        file: 'src/domain/effect.ts',
        from: `  if (effect.on_doubt === 'retry') return { outcome: 'proceed', write: 'begin' }`,
        to: `  if (effect.on_doubt) return { outcome: 'proceed', write: 'begin' }`,
      },
      {
        file: 'src/sql/effects.ts',
        from: `effects.state IN ('begun', 'in_doubt') AND effects.on_doubt = 'retry'`,
        to: `effects.state IN ('begun', 'in_doubt')`,
      },
    ],
  },
  {
    name: 'sections',
    title: 'a cancel does not wait for the end of a critical section',
    first: 'kill-active',
    breaks: 6,
    edits: [
      {
        file: 'src/sql/cancels.ts',
        from: `        AND NOT coalesce(\${isInSection}, false)
      RETURNING`,
        to: '      RETURNING',
      },
    ],
  },
  {
    name: 'replica-clock',
    title: "deadlines are judged by the replica's clock",
    first: 'freeze-executors',
    breaks: 7,
    edits: [
      {
        file: 'src/sql/leases.ts',
        from: '      name,\n      text: `SELECT j.executor_id, j.id FROM ${from}\n        WHERE ${where} AND',
        to: '      text: `SELECT j.executor_id, j.id FROM ${from}\n        WHERE ${byOwnClock(where)} AND',
      },
      {
        file: 'src/sql/leases.ts',
        from: '      name,\n      text: `SELECT ${lockedColumns} FROM ${from} WHERE j.id = ANY ($2::uuid[]) AND ${checked(where)}',
        to: '      text: `SELECT ${lockedColumns} FROM ${from} WHERE j.id = ANY ($2::uuid[]) AND ${checked(byOwnClock(where))}',
      },
      {
        file: 'src/sql/leases.ts',
        from: '/** How leases that are due are listed',
        to: `const byOwnClock = (due: string) =>
  due.replaceAll('statement_timestamp()', \`to_timestamp(\${Date.now() / 1_000})\`)

/** How leases that are due are listed`,
      },
    ],
  },
  {
    name: 'early-reclaim',
    title: 'leases are taken back right after a promotion',
    first: 'kill-active',
    breaks: 7,
    edits: [
      {
        file: 'src/sql/leases.ts',
        from: `"j.state = 'leased' AND j.lease_expires_at < served.until AND served.floor < served.until"`,
        to: `"j.state = 'leased'"`,
      },
    ],
  },
]

interface MutationOptions {
  folder: string
  /** Keep what was seen also where the bug was found. */
  keep: boolean
  say(...lines: string[]): void
}

/** Plants each bug in a build of its own, and runs the set on that until a drill turns red. */
export async function runMutations(
  chosen: Mutation[],
  set: Drill[],
  { folder, keep, say }: MutationOptions,
) {
  const results: MutationResult[] = []
  for (const mutation of chosen) {
    const result = await hunt(mutation, set, folder)
    const seen = result.invariants.join(', ')
    say(
      result.foundBy
        ? `found   ${mutation.name.padEnd(16)} by ${result.foundBy}, invariants ${seen}, after ${result.seconds} s: ${mutation.title}`
        : `MISSED  ${mutation.name.padEnd(16)} after ${result.seconds} s: ${mutation.title}`,
    )
    results.push(result)
    if (result.foundBy && !keep) {
      await rm(join(folder, mutation.name), { recursive: true, force: true })
    }
  }
  return results
}

/** Only what the checker says counts: a drill that merely gets stuck has not found the bug. */
async function hunt(mutation: Mutation, set: Drill[], folder: string): Promise<MutationResult> {
  const startedAt = performance.now()
  const build = await copyBuild(join(folder, mutation.name, 'build'), mutation.edits)
  const order = set.toSorted((a, b) => +(b.name === mutation.first) - +(a.name === mutation.first))
  const seconds = () => Math.round((performance.now() - startedAt) / 1_000)
  for (const drill of order) {
    const { violations } = await runDrill(drill, {
      folder: join(folder, mutation.name, drill.name),
      runs: drill.smokeRuns ?? 1,
      build,
    })
    const invariants = [...new Set(violations.map(({ invariant }) => invariant))]
    if (!invariants.includes(mutation.breaks)) continue
    invariants.sort((a, b) => a - b)
    return { mutation: mutation.name, foundBy: drill.name, invariants, seconds: seconds() }
  }
  return { mutation: mutation.name, invariants: [], seconds: seconds() }
}
