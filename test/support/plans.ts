import type pg from 'pg'
import type { Queryable } from '../../src/sql/pool.ts'

/** What a statement's plan costs by its shape alone, as the server would run it for values that it does not know. */

/** The text of what `ask` sends, and how many values go with it. Nothing is answered: what it makes of that is
 *  no matter here. */
export async function captureStatement(
  ask: (db: Queryable) => Promise<unknown>,
): Promise<pg.QueryConfig> {
  const sent: pg.QueryConfig[] = []
  const spy: Queryable = {
    query: async (query) => {
      sent.push(query)
      return { rows: [], rowCount: 0, command: '', oid: 0, fields: [] }
    },
  }
  await ask(spy).catch(() => undefined)
  const last = sent.at(-1)
  if (!last) throw new Error('it has sent no statement')
  return last
}

interface PlanNode {
  'Node Type': string
  'Parent Relationship'?: string
  'Relation Name'?: string
  'Index Name'?: string
  'Index Cond'?: string
  Plans?: PlanNode[]
}

export function countParameters(text: string): number {
  return Math.max(0, ...[...text.matchAll(/\$(\d+)/g)].map(([, n]) => Number(n)))
}

/** Its plan for any values. `client` keeps to generic plans. */
export async function explainGeneric(client: pg.Client, text: string): Promise<PlanNode> {
  const values = countParameters(text)
  const nulls = values === 0 ? '' : `(${Array(values).fill('NULL').join(', ')})`
  await client.query('SET plan_cache_mode = force_generic_plan')
  await client.query(`PREPARE explained AS ${text}`)
  try {
    const { rows } = await client.query(`EXPLAIN (FORMAT JSON) EXECUTE explained${nulls}`)
    return rows[0]['QUERY PLAN'][0].Plan
  } finally {
    await client.query('DEALLOCATE explained')
  }
}

export interface IndexShape {
  table: string
  columns: string[]
  isUnique: boolean
}

/** The indexes of this schema, by name. */
export async function listIndexes(client: pg.Client): Promise<Map<string, IndexShape>> {
  const { rows } = await client.query<IndexShape & { name: string }>(
    `SELECT c.relname AS name, i.indrelid::regclass::text AS table, i.indisunique AS "isUnique",
        array_agg(a.attname::text ORDER BY k.place) AS columns
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(attnum, place)
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
      WHERE c.relnamespace = to_regnamespace(current_schema())
      GROUP BY c.relname, i.indrelid, i.indisunique`,
  )
  return new Map(rows.map(({ name, ...shape }) => [name, shape]))
}

/** As many rows as there are replicas, promotions, or kinds of jobs: read whole for less than their index would cost. */
const smallTables = ['classes', 'leader', 'lock_floor', 'replicas', 'terms']

/** Of any table: an index that starts with one of these finds a row, or what belongs to one job or executor, however
 *  many there are of those. */
const narrow = new Set(['id', 'job_id', 'executor_id', 'name', 'token'])

/** These hand on nothing before they have read all that is below them, so that no LIMIT above them stops it. */
const exhausting =
  /^(Sort|Incremental Sort|Aggregate|WindowAgg|Group|Hash|Materialize|Memoize|SetOp|Bitmap .*|ModifyTable|Gather.*|Recursive Union)$/

/**
 * Where a plan reads more rows than it was given keys. A read whose condition is an equality on a narrow column that
 * its index starts with, or on all columns of a unique index, is by key, and not listed. Of the others:
 *
 *   walks   go along an index in its order, and a LIMIT above them ends them, since nothing between gathers rows first
 *   reads   go from one end to the other, and so grow with the table, or its index; every Seq Scan is one
 *
 * A Sort needs no rule of its own: what it sorts comes by key, or it stands between a read and whatever would end that.
 */
export interface Shape {
  walks: string[]
  reads: string[]
}

export function shapeOf(plan: PlanNode, indexes: Map<string, IndexShape>): Shape {
  const shape: Shape = { walks: [], reads: [] }
  visit(plan, false)
  return { walks: shape.walks.sort(), reads: shape.reads.sort() }

  function visit(node: PlanNode, isEnded: boolean): void {
    look(node, isEnded)
    const type = node['Node Type']
    for (const child of node.Plans ?? []) {
      // Not the inner side of a join: that is read anew for each row of the outer one.
      const isStream = ['Outer', 'Member', 'Subquery'].includes(child['Parent Relationship'] ?? '')
      const passesOn = isEnded && isStream && !exhausting.test(type)
      visit(child, type === 'Limit' ? isStream : passesOn)
    }
  }

  function look(node: PlanNode, isEnded: boolean): void {
    const { 'Node Type': type, 'Relation Name': table, 'Index Name': name } = node
    if (type === 'Seq Scan' && table && !smallTables.includes(table)) shape.reads.push(table)
    const index = name === undefined ? undefined : indexes.get(name)
    if (!name || !index || smallTables.includes(index.table)) return
    const condition = node['Index Cond'] ?? ''
    if (isByKey(index, condition)) return
    const where = `${name}${describe(index, condition)}`
    const kind = isEnded && !type.startsWith('Bitmap') ? shape.walks : shape.reads
    kind.push(where)
  }
}

/** The columns that it starts with and that an equality gives. */
function given({ columns }: IndexShape, condition: string): string[] {
  const end = columns.findIndex(
    (column) => !new RegExp(`\\((?:\\w+\\.)?"?${column}"?(?:::\\w+)? = `).test(condition),
  )
  return end === -1 ? columns : columns.slice(0, end)
}

function isByKey(index: IndexShape, condition: string): boolean {
  const columns = given(index, condition)
  const [first] = columns
  if (first === undefined) return false
  return narrow.has(first) || (index.isUnique && columns.length === index.columns.length)
}

function describe(index: IndexShape, condition: string): string {
  const columns = given(index, condition)
  const within = columns.length === 0 ? '' : ` within ${columns.join(', ')}`
  return /[<>]/.test(condition) ? `${within} from a place` : within
}
