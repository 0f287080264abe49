import { expect, test } from 'vitest'
import { Client } from '../../src/sdk/index.ts'
import { cli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { adminToken, startActive, startReplica } from '../support/replica.ts'

const db = useDatabase()

/** Two terms: one that was stepped down from, and its successor that leads. */
async function startTwice() {
  const first = await startActive(db)
  const second = await startReplica(db)
  await second.events.wait('standing')
  await first.api.register('stays')
  await first.api.must(200, first.api.post('/v1/leader/step-down', {}))
  await second.api.untilActive()
  const { term } = await second.events.wait('promoted')
  const env = { UNDERSTUDY_URLS: second.api.url, UNDERSTUDY_TOKEN: adminToken }
  return { first, second, term: term.number, env }
}

test('the history has each term: who, from when to when, why it ended, and what its recovery did', async () => {
  const { first, second, term, env } = await startTwice()
  const { terms } = (await cli(['leader', 'history', '--limit', '2', '--json'], { env })).json()
  expect(terms).toMatchObject([
    { term, name: second.app.identity.name, until: null, end_reason: null },
    { term: term - 1, name: first.app.identity.name, end_reason: 'step_down' },
  ])
  const [latest, before] = terms
  expect(Date.parse(before.until)).toBeGreaterThanOrEqual(Date.parse(before.since))
  expect(Date.parse(latest.since)).toBeGreaterThanOrEqual(Date.parse(before.until))
  const { stdout, code } = await cli(['leader', 'history', '--limit', '1'], { env })
  expect(code).toBe(0)
  const [head, row, ...phases] = stdout.trimEnd().split('\n')
  expect(head?.trim().split(/ +/)).toEqual([
    'term',
    'replica',
    'from',
    'until',
    'lasted',
    'end',
    'recovery',
  ])
  const ms = latest.recovery.reduce((sum: number, phase: { ms: number }) => sum + phase.ms, 0)
  expect(row?.trim()).toMatch(
    new RegExp(`^${term} +${latest.name} +${latest.since} +- +\\d+s +- +${ms} ms$`),
  )
  expect(phases.map((line) => /^ {8}(\w+): \d+ ms/.exec(line)?.[1])).toEqual(
    latest.recovery.map(({ phase }: { phase: string }) => phase),
  )
  expect(phases.join()).toContain(', executors 1')
})

test('a term is not shown to have outlasted the promotion of its successor', async () => {
  const { term, env } = await startTwice()
  await db.sql(
    `UPDATE terms SET ended_at = ended_at + interval '1 minute' WHERE term = ${term - 1}`,
  )
  const { terms } = (await cli(['leader', 'history', '--limit', '2', '--json'], { env })).json()
  expect(terms[1]).toMatchObject({ until: terms[0].since, end_reason: 'step_down' })
})

test('status says since when the leader leads, what its recovery took, and why the term before ended', async () => {
  const { second, term, env } = await startTwice()
  const { leader } = (await second.api.get('/v1/status')).body
  const { recovery } = (await second.api.get('/v1/leader')).body
  const ms = recovery.reduce((sum: number, phase: { ms: number }) => sum + phase.ms, 0)
  expect(leader).toMatchObject({ term, recovery_ms: ms, end_reason_before: 'step_down' })
  const { stdout } = await cli(['status'], { env })
  expect(stdout).toMatch(
    new RegExp(
      `^term ${term}, led by ${leader.name}, promoted \\d+s ago, recovered in ${ms} ms\nthe term before ended: step_down\n`,
    ),
  )
})

test('as many terms as are asked for, 20 unless told, and at most 1000', async () => {
  await db.sql('UPDATE leader SET term = term + 100')
  const { api } = await startActive(db)
  await db.sql(
    `INSERT INTO terms (term, replica_id, active_lock_id, system_identifier, timeline, promoted_at,
        ticked_at, ended_at, end_reason)
      SELECT term - n, replica_id, active_lock_id, system_identifier, timeline, promoted_at,
        promoted_at, promoted_at, 'step_down'
      FROM terms, generate_series(1, 30) n WHERE term = (SELECT max(term) FROM terms)`,
  )
  const count = async (query: string) =>
    (await api.must(200, api.get(`/v1/leader${query}`))).body.terms.length
  expect(await count('')).toBe(20)
  expect(await count('?limit=25')).toBe(25)
  expect(await count('?limit=1')).toBe(1)
  for (const limit of ['0', '1001', 'x', '1.5']) {
    expect([limit, (await api.get(`/v1/leader?limit=${limit}`)).status]).toEqual([limit, 400])
  }
  const client = new Client({ urls: [api.url], token: adminToken })
  expect((await client.getLeader({ limit: 3 })).terms).toHaveLength(3)
  await client.close()
})
