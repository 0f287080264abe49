import { expect, test } from 'vitest'
import { findImports, importFaults } from './imports.ts'

const dependencies = ['pg', 'fastify', 'zod']

test('every form of import is found', () => {
  const source = `import 'a'
import b from 'b'
import * as c from 'c'
import type { D } from 'd'
import { type E, e } from 'e'
import f, {
  g,
} from 'f'
export * from 'h'
export type { I } from 'i'
// import no from 'comment'
const j = await import('j')
const text = \`
  import no from 'text'\`
`
  expect(findImports(source).map(({ from }) => from)).toEqual([...'abcdefhij'])
})

test.each([
  ['leader/gate.ts', "import { x } from '../services/jobs.ts'"],
  ['leader/gate.ts', "import type { X } from '../http/server.ts'"],
  ['sdk/client.ts', "import { x } from '../errors.ts'"],
  ['domain/job.ts', "import { x } from '../clock.ts'"],
  ['domain/job.ts', "import { x } from 'node:fs'"],
  ['contract/jobs.ts', "import { x } from 'fastify'"],
  ['http/routes/jobs.ts', "import { x } from '../../sql/jobs.ts'"],
  ['services/jobs.ts', "import { Gate } from '../leader/gate.ts'"],
  ['services/jobs.ts', "const { x } = await import('../http/server.ts')"],
  ['services/jobs.ts', "import { x } from '../../test/support/api.ts'"],
  ['services/jobs.ts', "import { x } from 'vitest'"],
  ['services/jobs.ts', "export { x } from '../sql/jobs.ts'"],
  ['services/jobs.ts', "import { env } from 'node:process'"],
  ['services/jobs.ts', 'const { pid, env } = process'],
  ['brand-new/x.ts', ''],
])('%s is refused %s', (file, source) => {
  expect(importFaults(file, source, dependencies)).toHaveLength(1)
})

test.each([
  ['services/jobs.ts', "import type { Gate } from '../leader/gate.ts'"],
  ['http/routes/jobs.ts', "import { access } from '../auth.ts'"],
  ['cli/commands/serve.ts', "const { x } = await import('../../main.ts')"],
  ['sdk/index.ts', "export { Client } from './client.ts'"],
])('%s is allowed %s', (file, source) => {
  expect(importFaults(file, source, dependencies)).toEqual([])
})
