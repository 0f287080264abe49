import { expect, test } from 'vitest'
import { cli } from '../support/cli.ts'

/** A dozen starts of processes, one after the other, on a machine that may be busy. */
const patienceMs = 240_000

test(
  'the demo of a deploy: once each, through a failover, a second attempt and a cancel',
  async () => {
    const { code, stdout, stderr, json } = await cli(['demo', '--deploy', '--json'])
    expect({ code, stderr: code === 0 ? '' : `${stderr}${stdout}` }).toEqual({
      code: 0,
      stderr: '',
    })
    const { faults, promotions, releases, story } = json()
    expect(faults).toEqual([])
    expect(promotions).toBeGreaterThanOrEqual(1)
    expect(releases).toMatchObject([
      { version: 'v1', state: 'succeeded', attempt: 2, deployed: 1, ledger: 'deploy committed' },
      {
        version: 'v2',
        state: 'cancelled',
        stage: 'deploy',
        deployed: 1,
        ledger: 'deploy committed',
      },
    ])
    const told: string[] = story.map(({ what }: { what: string }) => what)
    const order = [
      'v1: it is deployed; the ledger does not know yet',
      expect.stringMatching(/^kill -9: [ab], the active replica$/),
      expect.stringMatching(/^[ab] leads, term \d+$/),
      'v1: the ledger records that it was done',
      'v1: deploy, attempt 2: the ledger says it was done; not done again',
      'v1: succeeded',
      expect.stringContaining('a cancel waits for the end of a critical section'),
      'v2: the section ends',
      'v2: cancelled',
    ]
    const found = order.map((line) =>
      told.findIndex((one) => expect.objectContaining({ one: line }).asymmetricMatch({ one })),
    )
    expect(found).not.toContain(-1)
    expect(found).toEqual([...found].sort((a, b) => a - b))
  },
  patienceMs,
)

test('a demo takes the options of one or the other', async () => {
  const { code, stderr } = await cli(['demo', '--deploy', '--dir', 'src'])
  expect(code).toBe(2)
  expect(stderr).toContain('--dir')
})
