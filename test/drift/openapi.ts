import { stringify } from 'yaml'
import { buildBareServer } from '../support/bare-server.ts'
import { keepFresh, tellFaults } from './generated.ts'

interface Operation {
  operationId?: string
  tags?: string[]
  summary?: string
  parameters?: { in: string; name: string }[]
  responses?: object
}

type Paths = Record<string, Record<string, Operation>>

/** The document that a running server would show. */
async function describeApi() {
  const server = await buildBareServer()
  await server.ready()
  const document = server.swagger()
  await server.close()
  return document
}

/** What a reader of the document may rely on, beyond its being generated. */
function operationFaults(path: string, operation: Operation): string[] {
  const { tags, summary, parameters = [], responses = {} } = operation
  const told = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name)
  const named = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name = '']) => name)
  return [
    ...(tags?.length ? [] : ['has no tag']),
    ...(summary ? [] : ['has no summary']),
    ...(Object.keys(responses).some((status) => status < '300') ? [] : ['never succeeds']),
    ...named.filter((name) => !told.includes(name)).map((name) => `{${name}} is no parameter`),
  ]
}

function pathFaults(paths: Paths): string[] {
  const taken = new Set<string>()
  return Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).flatMap(([method, operation]) => {
      const faults = operationFaults(path, operation)
      const { operationId } = operation
      if (operationId !== undefined) {
        if (taken.has(operationId)) faults.push(`operationId ${operationId} is taken`)
        taken.add(operationId)
      }
      return faults.map((fault) => `openapi: ${method} ${path} ${fault}`)
    }),
  )
}

const document = await describeApi()
const head = '# Generated from the schemas of the routes by `npm run openapi`. Do not edit.\n'
const text = head + stringify(document, { lineWidth: 100, aliasDuplicateObjects: false })
tellFaults([
  ...pathFaults((document.paths ?? {}) as Paths),
  ...(await keepFresh('openapi.yaml', text, 'npm run openapi')),
])
