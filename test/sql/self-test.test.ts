import { randomBytes } from 'node:crypto'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { migrate } from '../../src/sql/migrate.ts'
import { testPath } from '../../src/sql/self-test.ts'
import { applySettings, lockSettings } from '../../src/sql/session.ts'
import { useDatabase } from '../support/database.ts'
import { portOf } from '../support/listen.ts'
import { LogLines } from '../support/log-lines.ts'
import { startOwnPostgres } from '../support/own-postgres.ts'
import { expectRefused } from '../support/refused.ts'
import { startActive, startReplica } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'
import { tempFolder } from '../support/temp.ts'

const db = useDatabase()

/** What the self-test of a replica on these URLs finds, by the names of its reasons. */
async function reasonsOf(databaseUrl: string, leaderDatabaseUrl = databaseUrl) {
  const { signal } = new AbortController()
  const found = await testPath({ databaseUrl, leaderDatabaseUrl }, 'self-test', signal)
  return found.map(({ reason }) => reason)
}

async function createRole(): Promise<{ role: string; url: string }> {
  const role = `replica_${randomBytes(4).toString('hex')}`
  await db.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
  onTestFinished(async () => {
    await db.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })
  return { role, url: Object.assign(new URL(db.url), { username: role, password: 'secret' }).href }
}

/** The grants that the documentation tells an operator to make. */
async function documentedGrants(role: string): Promise<string> {
  const text = await readFile(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
  const grants = /```sql\n(GRANT [^`]*)```/.exec(text)?.[1] ?? ''
  return grants.replaceAll('TO replica;', `TO ${role};`)
}

test('a straight path to one database is not refused, over one URL or two', async () => {
  expect(await reasonsOf(db.url)).toEqual([])
  const other = new URL(db.url)
  other.searchParams.set('application_name', 'other')
  expect(await reasonsOf(db.url, other.href)).toEqual([])
})

test('two URLs that lead to different databases are refused', async () => {
  const name = `${new URL(db.url).pathname.slice(1)}_other`
  await db.sql(`CREATE DATABASE ${name}`)
  onTestFinished(async () => {
    await db.sql(`DROP DATABASE ${name} WITH (FORCE)`)
  })
  const url = Object.assign(new URL(db.url), { pathname: name }).href
  await migrate({ url })
  expect(await reasonsOf(db.url, url)).toEqual(['different_databases'])
  const replica = await startReplica(db, { UNDERSTUDY_LEADER_DATABASE_URL: url })
  await expectRefused(replica, 'different_databases', 'DATABASE_URL and UNDERSTUDY_LEADER')
  expect(await replica.app.unfit).toMatchObject([{ reason: 'different_databases' }])
  // However often it looks.
  for (let asked = 0; asked < 300; asked += 1) {
    expect((await replica.api.get('/health/ready')).status).toBe(503)
  }
  await replica.app.stop()
  const { rows } = await (await openSession(url)).query('SELECT FROM replicas')
  expect([...rows, ...(await db.sql('SELECT FROM replicas'))]).toEqual([])
})

/** A database of this oid on a server of its own. */
async function startDatabase(oid: number): Promise<string> {
  const server = await startOwnPostgres({ folder: tempFolder('twin') })
  onTestFinished(server.stop)
  await (await openSession(server.adminUrl)).query(`CREATE DATABASE twin OID ${oid}`)
  return Object.assign(new URL(server.adminUrl), { pathname: 'twin' }).href
}

test('so are those that lead to different servers, though name and oid are the same', async () => {
  const [one = '', other = ''] = await Promise.all([startDatabase(77_777), startDatabase(77_777)])
  expect(await reasonsOf(one, other)).toEqual(['different_databases'])
  expect([await reasonsOf(one), await reasonsOf(other)]).toEqual([[], []])
})

/** A way to Postgres: `join` decides what passes on the connection with this number, from 1. */
async function startWay(
  join: (client: Socket, upstream: Socket, number: number) => void,
): Promise<string> {
  const target = new URL(db.url)
  let number = 0
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    for (const socket of [client, upstream]) socket.on('error', () => socket.destroy())
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.destroy())
    number += 1
    join(client, upstream, number)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const url = { hostname: '127.0.0.1', port: String(portOf(server)) }
  return Object.assign(new URL(db.url), url).href
}

/** Its answers say `lie` where they said `truth`; both are of one length. */
const startLiar = (truth: string, lie: string) =>
  startWay((client, upstream) => {
    client.pipe(upstream)
    upstream.on('data', (chunk: Buffer) => {
      const told = chunk.toString('latin1').replaceAll(truth, lie)
      client.write(Buffer.from(told, 'latin1'))
    })
  })

test('a way that falls silent in the middle holds up neither the next try nor a stop', async () => {
  const silent: Socket[] = []
  const url = await startWay((client, upstream, number) => {
    client.pipe(upstream)
    upstream.pipe(client)
    silent.push(client, upstream)
    // With the second session the first one falls silent, too; what comes later passes.
    if (number !== 2) return
    for (const socket of silent) socket.unpipe().pause()
  })
  const replica = await startReplica({ url })
  await replica.api.untilActive()
  await replica.app.stop()
})

test('a Postgres older than 15 is refused', async () => {
  const [row] = await db.sql<{ version: string }>(
    "SELECT current_setting('server_version_num') AS version",
  )
  expect(await reasonsOf(await startLiar(row?.version ?? '', '140023'))).toEqual([
    'postgres_too_old',
  ])
  expect(await reasonsOf(await startLiar(row?.version ?? '', '150000'))).toEqual([])
})

test('a server in recovery is refused, and waited for: once it is promoted, the replica leads', async () => {
  const folder = tempFolder('recovery')
  const primary = await startOwnPostgres({ folder })
  await migrate({ url: primary.url })
  await primary.stop()
  await writeFile(join(primary.folder, 'data', 'standby.signal'), '')
  const standby = await startOwnPostgres({ folder })
  onTestFinished(standby.stop)
  const replica = await startReplica(standby)
  await expectRefused(replica, 'in_recovery', 'DATABASE_URL leads to a Postgres in recovery')
  await promoteServer(standby.adminUrl)
  await replica.api.untilActive()
  expect(replica.app.watch.refusals).toEqual([])
})

test('settings that a server ignores are named, and it is not refused for them', async () => {
  const folder = tempFolder('socket')
  await chmod(folder, 0o777)
  const settings = { unix_socket_directories: folder }
  const server = await startOwnPostgres({ folder: tempFolder('ignores'), settings })
  onTestFinished(server.stop)
  await migrate({ url: server.url })
  const url = new URL(server.url)
  url.searchParams.set('host', folder)
  const session = await openSession(url.href)
  const ignored = [
    'tcp_keepalives_idle',
    'tcp_keepalives_interval',
    'tcp_keepalives_count',
    'tcp_user_timeout',
  ]
  expect(await applySettings(session, lockSettings(3_000))).toEqual(ignored)
  const logged = new LogLines('warn')
  await startActive({ url: url.href }, {}, {}, logged)
  // Once each, however many sessions it opens.
  const said = logged.lines.filter(({ setting }) => setting !== undefined)
  expect(said.map(({ setting }) => setting)).toEqual(ignored)
  for (const { msg } of said) expect(msg).toContain('the server does not take this setting')
})

async function promoteServer(adminUrl: string) {
  const admin = await openSession(adminUrl)
  await admin.query('SELECT pg_promote()')
}

test('a read-only database is refused, and waited for', async () => {
  const name = new URL(db.url).pathname.slice(1)
  await db.sql(`ALTER DATABASE ${name} SET default_transaction_read_only = on`)
  const replica = await startReplica(db)
  await expectRefused(replica, 'read_only', 'DATABASE_URL leads to a database that takes no writes')
  await db.sql(`SET default_transaction_read_only = off; ALTER DATABASE ${name} RESET ALL`)
  await replica.api.untilActive()
})

test('a role with the documented rights, and no others, does all that a replica does', async () => {
  const { role, url } = await createRole()
  await db.sql(await documentedGrants(role))
  const first = await startActive({ url })
  const second = await startReplica({ url })
  const { api } = first
  const epoch = await api.register('granted', { queues: ['granted'] })
  const job = await api.submit({ queue: 'granted' })
  const [assignment] = await api.poll('granted', epoch)
  const held = { job_id: job.id, fence: assignment?.fence }
  await api.heartbeat('granted', epoch, [{ ...held, progress: { at: 1 } }])
  await api.must(201, api.post('/v1/tokens', { name: 'x', role: 'read' }))
  await second.events.wait('standing')
  await api.must(200, api.post('/v1/leader/step-down', {}))
  await second.api.untilActive()
  const failed = { ...held, outcome: 'failed', error: { code: 'x', retryable: false } }
  expect(await second.api.report('granted', epoch, failed)).toMatchObject([{ status: 'accepted' }])
  expect(
    await second.api.report('granted', epoch, { ...held, outcome: 'succeeded' }),
  ).toMatchObject([{ status: 'rejected' }])
})

test('each right that a role lacks is named, and nothing is begun without it', async () => {
  const { role, url } = await createRole()
  const grants = await documentedGrants(role)
  const rights = [...grants.matchAll(/GRANT ([A-Z, ]+) ON ([a-z_, ]+) TO/g)].flatMap(
    ([, each = '', tables = '']) =>
      tables
        .split(', ')
        .flatMap((table) => each.split(', ').map((right) => `${right} on ${table}`)),
  )
  expect(rights.length).toBeGreaterThan(20)
  const replica = await startReplica({ url })
  await expectRefused(replica, 'missing_rights', 'DATABASE_URL leads to a role that lacks SELECT')
  await db.sql(`GRANT SELECT ON migrations TO ${role}`)
  while (replica.app.watch.refusals[0]?.detail.startsWith('DATABASE_URL'))
    await replica.api.get('/')
  await expectRefused(replica, 'missing_rights', 'the role lacks ')
  const told = replica.app.watch.refusals[0]?.detail.replace('the role lacks ', '').split(', ')
  expect(told?.sort()).toEqual(rights.filter((each) => each !== 'SELECT on migrations').sort())
  await db.sql(grants)
  await replica.api.untilActive()
})

test.each([
  ['EXECUTE ON FUNCTION promote(uuid)', 'missing_rights', 'the role lacks EXECUTE on promote'],
  ['USAGE ON SCHEMA public', 'missing_rights', 'DATABASE_URL leads to a role that lacks USAGE'],
])('%s, where it is not for everybody, is named', async (right, reason, detail) => {
  const { role, url } = await createRole()
  await db.sql(await documentedGrants(role))
  await db.sql(`REVOKE ${right} FROM PUBLIC, ${role}`)
  onTestFinished(async () => {
    await db.sql(`GRANT ${right} TO PUBLIC`)
  })
  const replica = await startReplica({ url })
  await expectRefused(replica, reason, detail)
  await db.sql(`GRANT ${right} TO ${role}`)
  await replica.api.untilActive()
})

test('a role of the lock session that may not end sessions of the pool is refused', async () => {
  const [pool, leader] = [await createRole(), await createRole()]
  for (const { role } of [pool, leader]) await db.sql(await documentedGrants(role))
  expect(await reasonsOf(pool.url, leader.url)).toEqual(['missing_rights'])
  await db.sql(`GRANT ${pool.role} TO ${leader.role}`)
  expect(await reasonsOf(pool.url, leader.url)).toEqual([])
})

test.each([
  ['DATABASE_URL', (pool: string) => `REVOKE INSERT ON audit FROM ${pool}`],
  [
    'UNDERSTUDY_LEADER_DATABASE_URL',
    // Its members do not inherit what a superuser may do.
    (pool: string, leader: string) =>
      `ALTER ROLE ${pool} SUPERUSER; REVOKE INSERT ON audit FROM ${pool}, ${leader}`,
  ],
])('a right that only the role of %s lacks is named', async (_variable, revoke) => {
  const [pool, leader] = [await createRole(), await createRole()]
  for (const { role } of [pool, leader]) await db.sql(await documentedGrants(role))
  await db.sql(`GRANT ${pool.role} TO ${leader.role}`)
  await db.sql(revoke(pool.role, leader.role))
  const replica = await startReplica(pool, { UNDERSTUDY_LEADER_DATABASE_URL: leader.url })
  await expectRefused(replica, 'missing_rights', 'the role lacks INSERT on audit')
  await db.sql(`GRANT INSERT ON audit TO ${pool.role}, ${leader.role}`)
  await replica.api.untilActive()
})
