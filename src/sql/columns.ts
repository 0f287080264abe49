/** Rows turned into one array a column, for unnest(), as array literals: the driver would make each quote by quote,
 *  and a batch has thousands. `json` names the columns that hold JSON as text, made by JSON.stringify. */
export function columns<Row, Key extends keyof Row>(
  rows: Row[],
  keys: Key[],
  json: NoInfer<Key>[] = [],
): string[] {
  return keys.map((key) => {
    const element = json.includes(key) ? jsonElement : elementOf
    return `{${rows.map((row) => element(row[key])).join(',')}}`
  })
}

/** What the driver would make of a value that stands alone, quoted. */
function elementOf(value: unknown): string {
  if (value === null || value === undefined) return 'NULL'
  if (typeof value === 'string') return quoted(value)
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (Buffer.isBuffer(value)) return `"\\\\x${value.toString('hex')}"`
  throw new TypeError(`a column of ${typeof value}s has no array`)
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

/** JSON text has no bare control characters, so that quoting it as JSON gives what Postgres reads in an array: only
 *  quotes and backslashes are escaped. */
function jsonElement(text: unknown): string {
  if (text === null || text === undefined) return 'NULL'
  if (typeof text === 'string') return JSON.stringify(text)
  throw new TypeError('a column of JSON holds its text')
}
