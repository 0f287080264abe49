import { expect, onTestFinished, test } from 'vitest'
import { startOwnPostgres } from './own-postgres.ts'
import { wantedVersion } from './postgres-versions.ts'
import { openSession } from './sessions.ts'
import { tempFolder } from './temp.ts'

test.each(['14', '16.2', 'toString', 'x'])(
  'version %s is refused, and the known ones are named',
  (asked) => {
    expect(() => wantedVersion(asked)).toThrow(
      `no tests run on Postgres ${asked}; they do on 15, 16, 17, 18`,
    )
  },
)

test('without a wish it is the newest', () => {
  expect([wantedVersion(''), wantedVersion('15')]).toEqual(['18', '15'])
})

test('a server that a test has for itself is of the version that was asked for', async () => {
  const server = await startOwnPostgres({ folder: tempFolder('version') })
  onTestFinished(server.stop)
  const { rows } = await (await openSession(server.url)).query('SHOW server_version')
  expect(rows[0].server_version).toMatch(new RegExp(`^${wantedVersion()}\\.`))
})
