import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createProgram } from '../../src/cli/program.ts'
import { shellFaults } from './docs-commands.ts'
import {
  commandFaults,
  errorFaults,
  exitCodeFaults,
  metricFaults,
  reasonFaults,
  variableFaults,
} from './docs-tables.ts'
import { root, tellFaults } from './generated.ts'
import { anchors, blocks, links } from './markdown.ts'

/** The documents say what is so: links resolve, commands exist, tables equal the code. */

const top = fileURLToPath(root)
const program = createProgram()
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }

function read(file: string): string {
  return readFileSync(join(top, file), 'utf8')
}

function listBelow(...folders: string[]): string[] {
  return folders
    .filter((folder) => existsSync(join(top, folder)))
    .flatMap((folder) =>
      readdirSync(join(top, folder), { recursive: true, encoding: 'utf8' }).map((file) =>
        join(folder, file),
      ),
    )
}

/** Every variable of ours that the code names. */
const variables = new Set(
  listBelow('src', 'test')
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => read(file).match(/\bUNDERSTUDY_[A-Z_]+/g) ?? []),
)

function listDocuments(): string[] {
  const below = listBelow('docs', 'runbooks', 'src', 'examples')
  return [...readdirSync(top), ...below].filter((file) => file.endsWith('.md')).sort()
}

function linkFault(file: string, target: string): string | undefined {
  if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return undefined
  const [path = '', anchor] = decodeURI(target).split('#')
  const found = path === '' ? join(top, file) : resolve(top, dirname(file), path)
  if (relative(top, found).startsWith('..')) return `${target} is outside the repository`
  if (!existsSync(found)) return `${target} does not exist`
  if (anchor === undefined || !found.endsWith('.md')) return undefined
  return anchors(readFileSync(found, 'utf8')).has(anchor) ? undefined : `${target}: no such heading`
}

function documentFaults(file: string): string[] {
  const markdown = read(file)
  const shells = blocks(markdown).filter(({ language }) =>
    /^(?:sh|bash|shell|console)$/.test(language),
  )
  return [
    ...links(markdown).map((target) => linkFault(file, target)),
    ...shells.flatMap(({ text }) => shellFaults(text, { program, scripts })),
    ...(markdown.match(/\bUNDERSTUDY_[A-Z_]+/g) ?? [])
      .filter((name) => !variables.has(name))
      .map((name) => `nothing reads ${name}`),
  ]
    .filter((fault) => fault !== undefined)
    .map((fault) => `${file}: ${fault}`)
}

const cli = read('docs/cli.md')
tellFaults([
  ...listDocuments().flatMap(documentFaults),
  ...commandFaults(cli, program),
  ...exitCodeFaults(cli),
  ...errorFaults(read('docs/errors.md')),
  ...reasonFaults(read('docs/explain.md')),
  ...metricFaults(read('docs/metrics.md')),
  ...variableFaults(read('docs/configuration.md')),
])
