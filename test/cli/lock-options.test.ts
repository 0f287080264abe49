import { expect, test } from 'vitest'
import { ownerOf } from '../../src/cli/lock-options.ts'
import { LockOwner } from '../../src/contract/locks.ts'

test('without --owner each command has an owner of its own, whatever its host and process id', () => {
  const [one, other] = [ownerOf({}), ownerOf({})]
  expect(one).not.toBe(other)
  for (const owner of [one, other]) expect(LockOwner.parse(owner)).toBe(owner)
  expect(ownerOf({ owner: 'backup' })).toBe('backup')
})
