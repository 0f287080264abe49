import { describe, expect, test } from 'vitest'
import { difference } from './compare.ts'
import { follow } from './follow.ts'
import { Ground, type Staging } from './ground.ts'
import { parseRunbook, readRunbook, runbookFiles } from './parse.ts'
import { useOwnPostgres } from './postgres.ts'
import { database } from './stages/database.ts'
import { executorLost, staleFences } from './stages/executors.ts'
import { failover } from './stages/failover.ts'
import { noActiveReplica } from './stages/no-active-replica.ts'
import { restore } from './stages/restore.ts'
import { stuckInRecovering } from './stages/stuck-in-recovering.ts'
import { twoLeaders } from './stages/two-leaders.ts'
import { upgrade } from './stages/upgrade.ts'

/** Every runbook is followed to the letter where what it is for has happened, and prints what it shows. */

const postgres = useOwnPostgres()

const stagings: Record<string, Staging> = {
  'database-slow-or-down.md': database,
  'executor-lost.md': executorLost,
  'failover.md': failover,
  'no-active-replica.md': noActiveReplica,
  'restore-from-backup.md': restore,
  'rolling-upgrade.md': upgrade,
  'stale-fences.md': staleFences,
  'stuck-in-recovering.md': stuckInRecovering,
  'two-leaders.md': twoLeaders,
}

const headings = ['Symptom', 'What it means', 'Check', 'Act', 'Verify', 'If it fails']

test.each(runbookFiles)(
  '%s: what it shows is what its commands print',
  async (file) => {
    const staging = stagings[file]
    if (!staging) throw new Error(`nobody stages ${file}`)
    const ground = await Ground.prepare(postgres())
    const blocks = parseRunbook(readRunbook(file))
    expect(await follow(file, blocks, ground, staging(ground))).toEqual([])
  },
  180_000,
)

test.each(runbookFiles)('%s follows the template, and is in the index', (file) => {
  const found = [...readRunbook(file).matchAll(/^## (.+)$/gm)].map(([, heading]) => heading)
  expect(found).toEqual(headings)
  expect(readRunbook('README.md')).toContain(`](${file})`)
})

const noManager = 'a test has no service manager'

test('only these commands are not run', () => {
  const notRun = runbookFiles.flatMap((file) =>
    parseRunbook(readRunbook(file)).flatMap(({ text, notRun }) =>
      notRun === undefined ? [] : [`${file}: ${text}: ${notRun}`],
    ),
  )
  expect(notRun).toEqual([
    `database-slow-or-down.md: systemctl start postgresql: ${noManager}; it starts its Postgres itself`,
    'executor-lost.md: understudy agent --queue render --id gpu-7 -- ./render.sh: an agent runs until it is stopped; the test starts one itself',
    `restore-from-backup.md: systemctl stop understudy: ${noManager}; it sends SIGTERM itself`,
    'restore-from-backup.md: pg_restore --clean --if-exists --exit-on-error --dbname "$DATABASE_URL" understudy.dump: the embedded Postgres comes without pg_restore; the test restores a copy itself',
    `restore-from-backup.md: systemctl start understudy: ${noManager}; it starts the replicas itself`,
    `rolling-upgrade.md: systemctl restart understudy: ${noManager}; it restarts the replica itself`,
    `two-leaders.md: systemctl stop understudy: ${noManager}; it sends SIGTERM itself`,
  ])
})

describe('a runbook that is wrong is found', () => {
  const shown = 'term 2, led by two, promoted 8s ago\n\nreplicas\n…\n  *  two   …   2d ago'
  const printed =
    'term 2, led by two, promoted 0s ago\n\nreplicas\n  name\n     one\n  * two http 1s ago\n'

  test.each([
    ['is as it is shown', shown, true],
    ['has another number', shown.replace('term 2', 'term 3'), false],
    ['has another name', shown.replace('*  two', '*  one'), false],
    ['has a line less', shown.replace(/^term.*\n/, ''), false],
    ['has a line more', `${shown}\nexecutors`, false],
    ['ends early', shown.replace(/\n….*$/s, ''), false],
  ])('%s', (_, runbook, isRight) => {
    expect(difference(runbook, printed) === undefined).toBe(isRight)
  })

  test.each([
    ['a block that nothing prints', '```\nx\n```'],
    ['a block in another language', '```sh\nx\n```\n```json\n{}\n```'],
    ['a comment that means nothing', '<!-- stages: x -->\n```sh\nx\n```'],
    ['a stage for nothing', '```sh\nx\n```\n<!-- stage: x -->'],
  ])('%s', (_, runbook) => {
    expect(() => parseRunbook(runbook)).toThrow()
  })

  test('a stage that nobody sets, one that is never asked for, and output that is not shown', async () => {
    const ground = await Ground.prepare(postgres())
    const run = (markdown: string) =>
      follow('x.md', parseRunbook(markdown), ground, { idle: async () => undefined })
    await expect(run('<!-- stage: fire -->\n```sh\necho\n```')).rejects.toThrow('nobody stages')
    const faults = await run(
      '```sh\necho hello\n```\n\n```sql\nSELECT 1 AS n;\n```\n\n```\n n\n---\n 2\n(1 row)\n```',
    )
    expect(faults).toEqual([
      expect.stringContaining('x.md:1\necho hello'),
      expect.stringContaining('x.md:5\nSELECT 1 AS n;'),
      'x.md: never staged: idle',
    ])
  })
})
