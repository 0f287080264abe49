import { parseInstant } from './clocks.ts'
import type { Change, CommitEvent } from './events.ts'

/** Reads what `test_decoding` prints of a logical slot, asked for with include-xids and include-timestamp. */

/** What the checker judges by; the rest is bulky, and rewritten with every renewal. */
const wanted: Record<string, Set<string>> = {
  leader: new Set(['term', 'replica_id']),
  terms: new Set(['term', 'replica_id', 'recovery', 'deadline_floor_at', 'ended_at', 'end_reason']),
  jobs: new Set([
    ...['id', 'queue', 'kind', 'state', 'fence', 'attempt', 'max_attempts', 'lost_leases'],
    ...['executor_id', 'epoch', 'poll_id', 'offered', 'lease_expires_at', 'idempotency_key'],
    ...['stage', 'move', 'waiting_for', 'retry_of', 'cancel_requested_at', 'cancel_told_at'],
    ...['critical_fence', 'critical_entered_at', 'critical_ceiling_ms'],
  ]),
  effects: new Set([
    ...['job_id', 'key', 'state', 'on_doubt', 'effect_token', 'begin_id', 'fence', 'executor_id'],
    ...['epoch', 'doubt_begin_id', 'doubt_fence', 'holds', 'settled_begin_id', 'settled_fence'],
  ]),
  moves: new Set(['job_id', 'move', 'from_stage', 'to_stage', 'by', 'fence']),
  attempts: new Set(['job_id', 'fence', 'attempt', 'executor_id', 'epoch', 'outcome']),
  executors: new Set(['executor_id', 'epoch']),
  progress: new Set(['job_id', 'fence']),
  late_reports: new Set(['job_id', 'executor_id', 'epoch', 'fence', 'outcome', 'reason']),
}

/** Whole transactions, as the slot gives them; those that touch nothing wanted and have no writer are left
 *  out. `after` is the order of the last commit that was read before. */
export function parseCommits(rows: { data: string }[], after = 0): CommitEvent[] {
  const commits: CommitEvent[] = []
  let open: Pick<CommitEvent, 'xid' | 'changes' | 'writer'> | undefined
  for (const { data } of rows) {
    if (data.startsWith('BEGIN ')) {
      open = { xid: Number(data.slice(6)), changes: [] }
    } else if (data.startsWith('COMMIT ')) {
      if (!open) throw new Error(`a COMMIT without its BEGIN: ${data}`)
      if (open.changes.length > 0 || open.writer) {
        const order = after + commits.length + 1
        commits.push({ type: 'commit', order, committedAt: parseCommitTime(data), ...open })
      }
      open = undefined
    } else if (data.startsWith('table ') && open) {
      for (const change of parseChanges(data)) open.changes.push(change)
    } else if (data.startsWith('message: transactional: 1 ') && open) {
      const writer = parseWriter(data)
      if (writer) open.writer = writer
    } else if (!data.startsWith('message: transactional: 0 ')) {
      throw new Error(`test_decoding says what nobody expected: ${data.slice(0, 200)}`)
    }
  }
  if (open) throw new Error(`transaction ${open.xid} has no COMMIT`)
  return commits
}

function parseCommitTime(data: string): number {
  const time = /\(at (.+)\)$/.exec(data)?.[1]
  if (!time) throw new Error(`a COMMIT without its time: ${data}`)
  return parseInstant(time)
}

function parseWriter(data: string): CommitEvent['writer'] {
  const match = / prefix: understudy\.writer, sz: \d+ content:(\d+) (\S+)$/.exec(data)
  return match ? { term: Number(match[1]), replicaId: match[2] ?? '' } : undefined
}

const verbs = { INSERT: 'insert', UPDATE: 'update', DELETE: 'delete' } as const

/** A TRUNCATE is told as a delete that names no row, once for each table. */
function* parseChanges(data: string): Iterable<Change> {
  const head = /^table (.+?): (INSERT|UPDATE|DELETE|TRUNCATE): /.exec(data)
  if (!head) throw new Error(`no change: ${data.slice(0, 200)}`)
  const [{ length }, names = '', verb] = head
  if (verb === 'TRUNCATE') {
    for (const name of names.split(', ')) {
      const table = tableOf(name)
      if (table in wanted) yield { table, kind: 'delete', row: {} }
    }
    return
  }
  const table = tableOf(names)
  const columns = wanted[table]
  if (!columns) return
  const row = parseTuple(data, length, columns)
  yield { table, kind: verbs[verb as keyof typeof verbs], row }
}

/** Other schemas have no tables of ours. */
function tableOf(name: string): string {
  return name.startsWith('public.') ? name.slice('public.'.length) : name
}

const oldKey = 'old-key: '
const newTuple = 'new-tuple: '

/** `name[type]:value …`. Of an update that changed its key, the old one is read past. */
function parseTuple(data: string, start: number, columns: Set<string>): Change['row'] {
  let row: Change['row'] = {}
  let at = data.startsWith(oldKey, start) ? start + oldKey.length : start
  if (data.startsWith('(no-tuple-data)', at)) return row
  while (at < data.length) {
    if (data.startsWith(newTuple, at)) {
      row = {}
      at += newTuple.length
    }
    const { name, next } = parseName(data, at)
    const typeEnd = data.indexOf(']:', next)
    if (data[next] !== '[' || typeEnd < 0) throw new Error(`no column at ${at}: ${data}`)
    const from = typeEnd + 2
    const end = endOfValue(data, from)
    // Read past, not copied, where nobody asks for it.
    const value = columns.has(name) ? toValue(data.slice(from, end)) : undefined
    if (value !== undefined) row[name] = value
    at = end + 1
  }
  return row
}

/** Quoted where it is no plain name. */
function parseName(data: string, at: number): { name: string; next: number } {
  if (data[at] !== '"') {
    const next = data.indexOf('[', at)
    return { name: data.slice(at, next), next }
  }
  const next = endOfQuoted(data, at, '"')
  return { name: data.slice(at + 1, next - 1).replaceAll('""', '"'), next }
}

/** The index after the value: of a blank, or the end. Bits are printed as B'…'. */
function endOfValue(data: string, from: number): number {
  const quote = data[from] === 'B' ? from + 1 : from
  if (data[quote] === "'") return endOfQuoted(data, quote, "'")
  const blank = data.indexOf(' ', from)
  return blank < 0 ? data.length : blank
}

/** Inside, a quote is doubled. */
function endOfQuoted(data: string, from: number, quote: string): number {
  for (let at = from + 1; ; at += 2) {
    at = data.indexOf(quote, at)
    if (at < 0) throw new Error(`a quote never ends: ${data.slice(from, from + 200)}`)
    if (data[at + 1] !== quote) return at + 1
  }
}

function toValue(text: string): string | null | undefined {
  if (text === 'null') return null
  if (text === 'unchanged-toast-datum') return undefined
  return text.startsWith("'") ? text.slice(1, -1).replaceAll("''", "'") : text
}
