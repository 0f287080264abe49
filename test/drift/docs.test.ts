import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { shellFaults, simpleCommands } from './docs-commands.ts'
import {
  errorFaults,
  exitCodeFaults,
  metricFaults,
  readVariables,
  variableFaults,
} from './docs-tables.ts'
import { anchors, blocks, links } from './markdown.ts'

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
const commands = {
  program: createProgram(),
  scripts: { start: 'node src/cli/main.ts dev', demo: 'node src/cli/main.ts demo', test: 'vitest' },
}

test('a line is taken apart as a shell does it', () => {
  const line = `$ A=1 npx understudy submit --payload '{"a": "b;c"}' | jq .id && echo "x y" # why; not`
  expect(simpleCommands(line)).toEqual([
    ['A=1', 'npx', 'understudy', 'submit', '--payload', '{"a": "b;c"}'],
    ['jq', '.id'],
    ['echo', 'x y'],
  ])
})

test.each([
  'npx understudy status --json | jq .leader',
  'understudy job get 01a1 --wait-ms 5',
  'understudy agent --id a -- ./run --fast',
  'UNDERSTUDY_PORT=4601 understudy serve',
  'id=$(npx understudy submit --kind a --json)',
  'npm run demo -- --dir src',
  'npm start',
  'docker compose exec -T one understudy status',
  'psql -U understudy',
  'understudy --help',
])('%s is fine', (line) => {
  expect(shellFaults(line, commands)).toEqual([])
})

test.each([
  'npx understudy stats',
  'understudy job',
  'understudy job stop x',
  'understudy job get',
  'understudy job get a b',
  'understudy status --yaml',
  'understudy submit --payload 1',
  'id=$(npx understudy submit --sort a)',
  'npm run deploy',
  'npm run demo -- --speed 3',
  'npm start --replicas 3',
  'echo a && node src/cli/main.ts sreve',
  'understudy submit --kind a \\\n  --colour red',
  'docker compose exec -T one understudy statsu',
])('%s is refused', (line) => {
  expect(shellFaults(line, commands)).toHaveLength(1)
})

test('links and headings are read as GitHub does', () => {
  const page = '# A `b` (c)\n## A b c\n[x](y.md#z "t") `[no](no)`\n```sh\n# no\n[no](no)\n```\n'
  expect(links(page)).toEqual(['y.md#z'])
  expect([...anchors(page)]).toEqual(['a-b-c', 'a-b-c-1'])
  expect(blocks(page)).toEqual([{ language: 'sh', text: '# no\n[no](no)\n' }])
})

test('a table that says more, less or other than the code is found', () => {
  const errors = read('docs/errors.md')
  expect(errorFaults(errors)).toEqual([])
  expect(errorFaults(errors.replace('| 409 | no |', '| 409 | yes |'))).toHaveLength(2)
  expect(errorFaults(errors.replace(/^\| `overloaded`.*\n/m, ''))).toHaveLength(1)
  const cli = read('docs/cli.md')
  expect(exitCodeFaults(cli)).toEqual([])
  expect(exitCodeFaults(cli.replace('| 5 |', '| 6 |'))).toHaveLength(2)
})

test('a metric that is undocumented, invented, or has another type or other labels is found', () => {
  const page = read('docs/metrics.md')
  expect(metricFaults(page)).toEqual([])
  expect(metricFaults(page.replace(/^\| `term` .*\n/m, ''))).toHaveLength(1)
  expect(metricFaults(page.replace('| `term` |', '| `terms` |'))).toHaveLength(2)
  expect(metricFaults(page.replace('| `term` | gauge |', '| `term` | counter |'))).toHaveLength(2)
  expect(metricFaults(page.replace('`tier`, `outcome`', '`outcome`'))).toHaveLength(2)
})

test('a variable that is undocumented, invented or has another default is found', () => {
  const page = read('docs/configuration.md')
  expect(readVariables().get('UNDERSTUDY_PORT')).toEqual({ isRequired: false, default: '4600' })
  expect(variableFaults(page)).toEqual([])
  expect(variableFaults(page.replace('| `4600` |', '| `4601` |'))).toHaveLength(1)
  expect(variableFaults(page.replace('`UNDERSTUDY_ROLE` |', '`UNDERSTUDY_ROLES` |'))).toHaveLength(
    2,
  )
  const grown = readVariables().set('UNDERSTUDY_NEW', { isRequired: true, default: undefined })
  expect(variableFaults(page, grown)).toHaveLength(1)
})
