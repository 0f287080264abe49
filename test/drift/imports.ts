import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root, tellFaults } from './generated.ts'
import { barrels, checkoutOnly, rules } from './import-rules.ts'

interface Import {
  from: string
  isType: boolean
  isReExport: boolean
}

const clause = String.raw`(?:\*(?: as [\w$]+)?|[\w$]+(?:, *)?|)(?:\{[^}]*\})?`
const statement = new RegExp(
  String.raw`^(import|export) (type )?${clause}(?: from |(?<=import ))'([^'\n]+)'`,
  'gm',
)
const call = /\bimport\(([^)]*)\)/g

/** Every import in a file as the formatter leaves it: statements begin a line, quotes are single. */
export function findImports(source: string): Import[] {
  const text = source.replace(/\/\*.*?\*\//gs, '').replace(/(^|\s)\/\/.*$/gm, '')
  const statements = [...text.matchAll(statement)].map(([, keyword, type, from = '']) => ({
    from,
    isType: type !== undefined,
    isReExport: keyword === 'export',
  }))
  const calls = [...text.matchAll(call)].map(([, argument = '']) => ({
    from: /^\s*'([^']+)',?\s*$/.exec(argument)?.[1] ?? argument,
    isType: false,
    isReExport: false,
  }))
  return [...statements, ...calls]
}

/** The rule of a file, or of a path below src/ without its ending: the longest name wins. */
function partOf(path: string): string | undefined {
  const bare = path.replace(/\.ts$/, '')
  const names = Object.keys(rules).filter((name) => bare === name || bare.startsWith(`${name}/`))
  return names.sort((a, b) => b.length - a.length)[0]
}

function covers(names: readonly string[], path: string): boolean {
  const bare = path.replace(/\.ts$/, '')
  return names.some((name) => bare === name || bare.startsWith(`${name}/`))
}

/** What is wrong with the imports of one file, named by its path below src/. */
export function importFaults(file: string, source: string, dependencies: string[]): string[] {
  const part = partOf(file)
  if (part === undefined) return [`src/${file}: no rule for it in test/drift/import-rules.ts`]
  // The linter finds process.env; this is the other way to it.
  if (part !== 'config' && /\benv\b[^{}\n]*\}\s*=\s*process\b/.test(source)) {
    return [`src/${file}: only config.ts reads the environment`]
  }
  return findImports(source).flatMap((found) => {
    const fault = found.from.startsWith('.')
      ? internalFault(file, part, found)
      : packageFault(part, found.from, dependencies)
    const told = fault ? [fault] : []
    if (found.isReExport && !barrels.includes(file)) told.push('hands on what another exports')
    return told.map((text) => `src/${file}: '${found.from}': ${text}`)
  })
}

function internalFault(file: string, part: string, { from, isType }: Import): string | undefined {
  const target = posix.join(dirname(file), from)
  if (!from.endsWith('.ts') && !from.endsWith('.json')) return 'a path ends in .ts'
  if (target.startsWith('..')) return 'is outside src/'
  if (partOf(target) === undefined) return 'no rule for it in test/drift/import-rules.ts'
  if (partOf(target) === part) return undefined
  const { uses, types = [] } = rules[part] ?? { uses: [] }
  if (covers(uses, target) || (isType && covers(types, target))) return undefined
  return covers(types, target) ? `${part} may import types of it only` : `not for ${part} to import`
}

function packageFault(part: string, from: string, dependencies: string[]): string | undefined {
  if (from === 'node:process') return 'process is a global, and its env belongs to config.ts'
  if (builtinModules.includes(from)) return 'write node: in front'
  const isNode = from.startsWith('node:')
  const name = isNode ? 'node:' : from.split('/', from.startsWith('@') ? 2 : 1).join('/')
  const { packages } = rules[part] ?? {}
  if (packages && !packages.includes(name)) return `not for ${part} to import`
  return isNode || dependencies.includes(name) ? undefined : 'not among the dependencies'
}

function readDependencies(): { production: string[]; all: string[] } {
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(new URL('package.json', root), 'utf8'),
  ) as Record<string, Record<string, string>>
  const production = Object.keys(dependencies ?? {})
  return { production, all: [...production, ...Object.keys(devDependencies ?? {})] }
}

if (import.meta.main) {
  const src = fileURLToPath(new URL('src/', root))
  const { production, all } = readDependencies()
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .sort()
  tellFaults(
    files.flatMap((file) => {
      const mayUse = covers(checkoutOnly, file) ? all : production
      return importFaults(file, readFileSync(join(src, file), 'utf8'), mayUse)
    }),
  )
}
