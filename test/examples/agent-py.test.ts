import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startActive } from '../support/replica.ts'
import { tempFolder } from '../support/temp.ts'
import { settled, startExample } from './example.ts'
import { testExecutor } from './executor-tests.ts'

const db = useDatabase()

describe('examples/agent.py', () => testExecutor('agent.py', db))

test('examples/agent.py: a command that cannot be started fails its jobs', async () => {
  const { api } = await startActive(db)
  const command = join(tempFolder('no-shebang'), 'command')
  await writeFile(command, 'echo 7\n')
  await chmod(command, 0o755)
  const { id: queue } = await startExample('agent.py', api, [api.url], command)
  for (const _ of [1, 2]) {
    const { id } = await api.submit({ kind: 'x', queue, max_attempts: 1 })
    expect(await settled(api, id)).toMatchObject({
      state: 'failed',
      error: { code: 'spawn_failed' },
    })
  }
})
