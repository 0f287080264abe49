/** Rows turned into one array a column, for unnest(). `json` names the columns that hold JSON as text,
 *  made by JSON.stringify. */
export function columns<Row, Key extends keyof Row>(
  rows: Row[],
  keys: Key[],
  json: NoInfer<Key>[] = [],
): (Row[Key][] | string)[] {
  return keys.map((key) => {
    const values = rows.map((row) => row[key])
    return json.includes(key) ? jsonArray(values as (string | null)[]) : values
  })
}

/** An array literal. The driver makes one quote by quote, which takes seconds of the event loop for 8 MiB,
 *  more than the trust window has. JSON text has no bare control characters, so that quoting it as JSON
 *  gives what Postgres reads in an array: only quotes and backslashes are escaped. */
function jsonArray(texts: (string | null)[]): string {
  return `{${texts.map((text) => (text === null ? 'NULL' : JSON.stringify(text))).join(',')}}`
}
