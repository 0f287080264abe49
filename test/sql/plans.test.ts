import { readdir, readFile } from 'node:fs/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { leaderPoolSettings } from '../../src/sql/session.ts'
import { seedBusy, seedQuiet } from '../support/crowd.ts'
import { useDatabase } from '../support/database.ts'
import { type HotStatement, hotStatements, tableless } from '../support/hot-statements.ts'
import { patientOptions } from '../support/patience.ts'
import {
  captureStatement,
  countParameters,
  explainGeneric,
  listIndexes,
  type Shape,
  shapeOf,
} from '../support/plans.ts'

/** On 200,000 jobs, by generic plans, as they are made of statistics of a quiet hour and of a busy one: which way rows
 *  are found is judged, and no time. */

const db = useDatabase()
const quiet = new Map<string, Shape>()
/** Of tables that were never analyzed, and are empty. */
const fresh = new Map<string, Shape>()
let unset: Shape
let client: pg.Client
let indexes: Awaited<ReturnType<typeof listIndexes>>

const textOf = async ({ ask }: HotStatement) => (await captureStatement(ask)).text
const shapeNow = async (text: string) => shapeOf(await explainGeneric(client, text), indexes)

const unexpected = ({ walks = [], reads = [] }: HotStatement, shape: Shape) => [
  ...shape.walks.filter((walk) => !walks.includes(walk)).map((walk) => `goes along ${walk}`),
  ...shape.reads.filter((read) => !reads.includes(read)).map((read) => `reads all of ${read}`),
]

beforeAll(async () => {
  client = new pg.Client(patientOptions(db.url, 'plans'))
  await client.connect()
  indexes = await listIndexes(client)
  await client.query(`SET enable_seqscan = ${leaderPoolSettings.enable_seqscan}`)
  for (const [name, hot] of Object.entries(hotStatements)) {
    fresh.set(name, await shapeNow(await textOf(hot)))
  }
  await client.query('RESET enable_seqscan')
  unset = await shapeNow(await textOf(hotStatements.claim_jobs as HotStatement))
  await seedQuiet(db)
  for (const [name, hot] of Object.entries(hotStatements)) {
    quiet.set(name, await shapeNow(await textOf(hot)))
  }
  await seedBusy(db)
})
afterAll(() => client.end())

/** The name of the test, which says what is expected. */
function claimOf([name, { walks = [], reads = [] }]: [string, HotStatement]) {
  const walked = walks.map((index) => `goes along ${index} no further than its limit`)
  const read = reads.length > 0 ? [`reads all of ${reads.join(', ')}`] : []
  return [name, [...walked, ...read, 'finds what else it needs by key'].join(', and ')] as const
}

test.each(Object.entries(hotStatements).map(claimOf))('%s %s', async (name) => {
  const hot = hotStatements[name] as HotStatement
  expect(unexpected(hot, quiet.get(name) as Shape)).toEqual([])
  expect(unexpected(hot, await shapeNow(await textOf(hot)))).toEqual([])
})

test.each([
  ...['claim_jobs', 'find_held_under_poll', 'lock_offers_if_unshown', 'probe_claimable'],
  ...['extend_leases_if_held', 'touch_executors_if_current', 'record_progress_if_held'],
  ...[
    'lock_free_jobs',
    'find_ended_leases',
    'find_health',
    'end_leases_if_fenced',
    'wake_due_jobs',
  ],
])('%s finds its rows by key though it was planned while all tables were empty', (name) => {
  const hot = hotStatements[name] as HotStatement
  expect(unexpected(hot, fresh.get(name) as Shape)).toEqual([])
})

test('a claim that was planned then is seen to read the table, but for the leader’s settings', () => {
  const hot = hotStatements.claim_jobs as HotStatement
  expect(unexpected(hot, unset)).toContain('reads all of jobs')
})

test('a claim is seen to read the table once its index is gone', async () => {
  const hot = hotStatements.claim_jobs as HotStatement
  const text = await textOf(hot)
  try {
    await client.query('BEGIN; DROP INDEX jobs_claimable')
    expect(unexpected(hot, await shapeNow(text))).not.toEqual([])
  } finally {
    await client.query('ROLLBACK')
  }
})

test.each([
  ['claim_jobs', "state = 'available'"],
  ['list_reclaimable_leases', "j.state = 'leased'"],
  ['find_held_under_poll', "j.state = 'leased'"],
  ['probe_due_jobs', "state = 'available'"],
  ['list_jobs_of_orphaned_effects', "e.state = 'begun'"],
])('%s is seen to miss its index once %s is a parameter', async (name, literal) => {
  const hot = hotStatements[name] as HotStatement
  const text = await textOf(hot)
  const parameter = `$${countParameters(text) + 1}::text`
  expect(unexpected(hot, await shapeNow(text))).toEqual([])
  const shape = await shapeNow(
    text.replaceAll(
      literal,
      literal.replace(/'.*'/, () => parameter),
    ),
  )
  expect(unexpected(hot, shape)).not.toEqual([])
})

test('every statement that has a name is judged here', async () => {
  const folder = new URL('../../src/sql/', import.meta.url)
  const named = /(?:name: |(?:listOf|lockOf)(?:<[^>]*>)?\(\s*)'(\w+)'/g
  const files = (await readdir(folder)).map((file) => readFile(new URL(file, folder), 'utf8'))
  const names = (await Promise.all(files)).flatMap((source) =>
    [...source.matchAll(named)].map(([, name = '']) => name),
  )
  expect(names.length).toBeGreaterThan(90)
  const judged = new Set([...Object.keys(hotStatements), ...tableless])
  expect(names.filter((name) => !judged.has(name))).toEqual([])
})
