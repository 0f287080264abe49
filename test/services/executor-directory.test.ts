import { expect, test } from 'vitest'
import { ExecutorDirectory } from '../../src/services/executor-directory.ts'

const executor = (epoch: number) => ({
  executor_id: 'e',
  epoch,
  labels: {},
  queues: ['q'],
  capacity: 1,
  health: 'healthy' as const,
  is_draining: false,
  is_deregistered: false,
  changes: 0,
})

/** A directory beside a database that has the executor under this epoch, and the looks that it took. */
function start(epoch: number) {
  const looks: string[][] = []
  const beforeAnswer: (() => void)[] = []
  const directory = new ExecutorDirectory({
    look: async (ids) => {
      looks.push(ids)
      beforeAnswer.pop()?.()
      return ids.includes('e') ? [executor(epoch)] : []
    },
    classes: () => new Map(),
  })
  return { directory, looks, beforeAnswer }
}

test('whoever calls at the same time is looked up together, and known from then on', async () => {
  const { directory, looks } = start(3)
  const gets = Array.from({ length: 50 }, () => directory.get('e', 3))
  const unknown = directory.get('nobody', 1)
  await expect(unknown).rejects.toMatchObject({ code: 'not_found' })
  expect((await Promise.all(gets)).map(({ epoch }) => epoch)).toEqual(Array(50).fill(3))
  await directory.get('e', 3)
  expect(looks).toEqual([['e', 'nobody']])
})

test('memory that lags the database is not believed against its executor', async () => {
  const { directory } = start(2)
  directory.put(executor(1))
  expect(await directory.get('e', 2)).toMatchObject({ epoch: 2 })
  await expect(directory.get('e', 1)).rejects.toMatchObject({ code: 'stale_epoch' })
})

test('an epoch that nobody has changes nothing in memory', async () => {
  const { directory } = start(1)
  const before = directory.put(executor(1))
  await expect(directory.get('e', 99)).rejects.toMatchObject({ code: 'stale_epoch' })
  expect(directory.find('e')).toBe(before)
})

test('whoever was met under an epoch that memory had not heard of is told of once', async () => {
  const { directory } = start(2)
  const overtaken: string[] = []
  directory.onOvertaken((executorId) => overtaken.push(executorId))
  directory.put(executor(1))
  await Promise.all([directory.get('e', 2), directory.get('e', 2)])
  expect(overtaken).toEqual(['e'])
})

test('a word on a standing that comes during a look for a newer epoch counts', async () => {
  const { directory, beforeAnswer } = start(2)
  const standing = { health: 'faulty', is_draining: false, is_deregistered: false } as const
  directory.put(executor(1))
  beforeAnswer.push(() => directory.learn([{ executor_id: 'e', ...standing, changes: 1 }]))
  expect((await directory.get('e', 2)).standing).toMatchObject(standing)
})

test('a registration that overtakes a look knows better', async () => {
  const { directory, beforeAnswer } = start(1)
  beforeAnswer.push(() => directory.put(executor(2)))
  await expect(directory.get('e', 1)).rejects.toMatchObject({ code: 'stale_epoch' })
  expect(directory.current('e', 2)).toMatchObject({ epoch: 2 })
})

test('after a wait: forgotten may be asked again, a newer epoch is final', () => {
  const { directory } = start(1)
  directory.put(executor(1))
  directory.forget('e')
  expect(() => directory.current('e', 1)).toThrow(
    expect.objectContaining({ code: 'database_unavailable' }),
  )
  directory.put(executor(2))
  expect(() => directory.current('e', 1)).toThrow(expect.objectContaining({ code: 'stale_epoch' }))
})

test('of two words on a standing that crossed, the later one counts', () => {
  const { directory } = start(1)
  directory.put(executor(1))
  const word = (changes: number, is_draining: boolean) => {
    directory.learn([
      { executor_id: 'e', health: 'healthy', is_draining, is_deregistered: false, changes },
    ])
    return directory.find('e')?.standing.is_draining
  }
  expect([word(2, true), word(1, false), word(3, false)]).toEqual([true, true, false])
})

test('a look that a word on a standing overtakes is taken again', async () => {
  const { directory, looks, beforeAnswer } = start(1)
  const standing = { health: 'faulty', is_draining: false, is_deregistered: false } as const
  beforeAnswer.push(() => directory.learn([{ executor_id: 'e', ...standing, changes: 1 }]))
  await directory.get('e', 1)
  expect(looks).toHaveLength(2)
})

test('a deregistered executor has no epoch that is good', async () => {
  const { directory } = start(2)
  directory.put({ ...executor(2), is_deregistered: true })
  await expect(directory.get('e', 2)).rejects.toMatchObject({ code: 'stale_epoch' })
  expect(() => directory.current('e', 2)).toThrow(expect.objectContaining({ code: 'stale_epoch' }))
})
