import pg from 'pg'

/** Runs SQL, and prints as psql does. A bare machine has no psql. */
export async function psql(url: string, text: string): Promise<string> {
  const client = new pg.Client({ connectionString: url, application_name: 'psql' })
  client.on('error', () => undefined)
  await client.connect()
  try {
    const answer = await client.query({
      text,
      rowMode: 'array',
      types: { getTypeParser: () => (value: string) => value },
    })
    const results: pg.QueryArrayResult[] = Array.isArray(answer) ? answer : [answer]
    return results.map(print).join('')
  } finally {
    await client.end()
  }
}

function print({ command, rowCount, fields, rows }: pg.QueryArrayResult): string {
  if (fields.length > 0) return table(fields, rows)
  const counted = /^(?:UPDATE|DELETE|INSERT)$/.test(command)
  const zero = command === 'INSERT' ? ' 0' : ''
  return `${command}${counted ? `${zero} ${rowCount}` : ''}\n`
}

/** int8, int2, int4, oid, float4, float8, numeric: to the right. */
const numbers = new Set([20, 21, 23, 26, 700, 701, 1700])

function table(fields: pg.FieldDef[], rows: string[][]): string {
  const widths = fields.map(({ name }, column) =>
    Math.max(name.length, ...rows.map((row) => (row[column] ?? '').length)),
  )
  const centred = fields.map(({ name }, column) => {
    const room = (widths[column] ?? 0) - name.length
    return ' '.repeat(Math.floor(room / 2)) + name + ' '.repeat(Math.ceil(room / 2))
  })
  const lines = rows.map((row) =>
    fields.map(({ dataTypeID }, column) => {
      const [cell, width] = [row[column] ?? '', widths[column] ?? 0]
      return numbers.has(dataTypeID) ? cell.padStart(width) : cell.padEnd(width)
    }),
  )
  const rule = widths.map((width) => '-'.repeat(width + 2)).join('+')
  const body = [centred, ...lines].map((cells) => ` ${cells.join(' | ')}`.trimEnd())
  const count = `(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`
  return `${[body[0], rule, ...body.slice(1), count].join('\n')}\n\n`
}
