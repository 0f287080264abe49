import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { testStanding } from '../../src/sql/self-test.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { expectRefused } from '../support/refused.ts'
import { startActive, startReplica } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'

/** Replicas that cannot stand beside each other, and find out while they watch. */

const db = useDatabase()

test('of two replicas with one name the second takes no part until the first is gone', async () => {
  const named = { UNDERSTUDY_NAME: 'twin' }
  const first = await startActive(db, named)
  const second = await startReplica(db, named)
  await expectRefused(second, 'name_taken', 'another replica named twin is alive')
  expect((await first.api.get('/health/active')).status).toBe(200)
  await first.app.stop()
  await second.api.untilActive()
})

test('a leader whose watch session breaks keeps its name against whoever waits for it', async () => {
  const { api, app, events } = await startActive(db, { UNDERSTUDY_NAME: 'held' })
  const session = await openSession(db.url)
  const twin = { ...app.identity, replicaId: randomUUID() }
  for (let times = 0; times < 5; times += 1) {
    await db.terminate('understudy held watch')
    for (let tries = 0; tries < 20; tries += 1) {
      const found = await testStanding(session, session, twin)
      expect(found.map(({ reason }) => reason)).toEqual(['name_taken'])
    }
  }
  expect((await api.get('/health/active')).status).toBe(200)
  expect(app.watch.refusals).toEqual([])
  expect(events.fired.map(({ type }) => type)).toEqual(['standing', 'granted', 'promoted'])
})

/** Takes the name as soon as the replica's own session lets go of it, as a process of that name may. */
async function stealName(name: string) {
  const thief = await openSession(db.url)
  await db.terminate(`understudy ${name} watch`)
  const take = `SELECT pg_try_advisory_lock(1970168949, hashtext('${name}')) AS taken`
  while (!(await thief.query(take)).rows[0].taken) await pause()
  return thief
}

test('a standby that lost its name steps aside, says so, and comes back when the name is free', async () => {
  await startActive(db)
  const standby = await startReplica(db, { UNDERSTUDY_NAME: 'lent' })
  await standby.events.wait('standing')
  const thief = await stealName('lent')
  while (standby.app.watch.refusals.length === 0) await pause()
  const { detail } = (await standby.api.get('/health/ready')).body
  expect(detail).toContain('name_taken: another replica took the name lent')
  await thief.end()
  while ((await standby.api.get('/health/ready')).status !== 200) await pause()
})

test('a leader that lost its name makes way, and does not stand until it has it back', async () => {
  const first = await startActive(db, { UNDERSTUDY_NAME: 'robbed' })
  const second = await startReplica(db)
  await second.events.wait('standing')
  const thief = await stealName('robbed')
  expect((await first.events.wait('lost')).term.endReason).toBe('refused')
  await second.api.untilActive()
  await second.app.stop()
  // For longer than it pauses after a loss.
  await db.sql('SELECT pg_sleep(3)')
  expect((await first.api.get('/health/active')).body.detail).toContain('name_taken')
  expect(first.events.fired.filter(({ type }) => type === 'standing')).toHaveLength(1)
  await thief.end()
  await first.api.untilActive()
})

test('of five replicas that start at once with one name exactly one takes part', async () => {
  const replicas = await Promise.all(
    [1, 2, 3, 4, 5].map(() => startReplica(db, { UNDERSTUDY_NAME: 'quintuplet' })),
  )
  const refused = () => replicas.filter(({ app }) => app.watch.refusals.length > 0)
  while (refused().length < 4) await pause()
  await Promise.race(replicas.map(({ api }) => api.untilActive()))
  expect(refused()).toHaveLength(4)
})

test('a replica that cannot stand beside the others for its lock id is refused', async () => {
  await startActive(db)
  const replica = await startReplica(db, { UNDERSTUDY_ACTIVE_LOCK_ID: '9223372036854775807' })
  await expectRefused(replica, 'other_lock_id', 'replica-')
})
