import { expect, onTestFinished, test } from 'vitest'
import { access } from '../../src/http/auth.ts'
import { buildBareServer } from '../support/bare-server.ts'

async function buildWith(path: string, config: object) {
  const server = await buildBareServer()
  onTestFinished(() => server.close())
  server.get(path, { config }, async () => 'open to all')
  return server
}

test('a server with a route that says nothing of who may use it does not start, and names it', async () => {
  const server = await buildWith('/v1/forgotten', {})
  await expect(server.listen({ port: 0, host: '127.0.0.1' })).rejects.toThrow(
    'routes without access: /v1/forgotten',
  )
  expect(server.server.listening).toBe(false)
})

test('it starts with the same route once that is said', async () => {
  const server = await buildWith('/v1/remembered', { access: access.read })
  await server.listen({ port: 0, host: '127.0.0.1' })
  expect(server.server.listening).toBe(true)
})
