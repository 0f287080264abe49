import { expect, test } from 'vitest'
import { wantedVersion } from './postgres-versions.ts'

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
