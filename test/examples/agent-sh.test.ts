import { describe, expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startActive } from '../support/replica.ts'
import { settled, startExample } from './example.ts'
import { testExecutor } from './executor-tests.ts'

const db = useDatabase()

describe('examples/agent.sh', () => testExecutor('agent.sh', db))

test('examples/agent.sh: a payload that jq cannot read fails its job, and no other', async () => {
  const { api } = await startActive(db)
  const { id: queue } = await startExample('agent.sh', api, [api.url])
  const half = await api.submit({ kind: 'echo', queue, payload: { half: '\ud800' } })
  expect(await settled(api, half.id)).toMatchObject({ error: { code: 'unreadable_payload' } })
  const { id } = await api.submit({ kind: 'echo', queue, payload: 7 })
  expect(await settled(api, id)).toMatchObject({ state: 'succeeded', result: 7 })
})
