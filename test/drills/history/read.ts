import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { HistoryEvent } from './events.ts'

const at = z.number()
const Line = z.discriminatedUnion('type', [
  z.object({ type: z.literal('clock'), at, wall: z.number() }),
  z.object({
    ...{ type: z.literal('replica'), at },
    ...{ name: z.string(), replicaId: z.string(), url: z.string() },
    server: z.string().optional(),
  }),
  z.object({
    ...{ type: z.literal('invoke'), at, op: z.string(), actor: z.string() },
    ...{ method: z.string(), url: z.string(), path: z.string(), body: z.unknown() },
  }),
  z.object({
    ...{ type: z.literal('answer'), at, op: z.string(), status: z.number() },
    ...{ servedBy: z.string().optional(), body: z.unknown().optional() },
  }),
  z.object({
    ...{ type: z.literal('lost'), at, op: z.string(), why: z.string(), wasSent: z.boolean() },
  }),
  z.object({ type: z.literal('gave_up'), at, actor: z.string(), key: z.string() }),
  z.object({
    ...{ type: z.literal('acted'), at, actor: z.string(), jobId: z.string() },
    ...{ fence: z.number(), key: z.string(), token: z.string() },
  }),
  z.object({
    ...{ type: z.literal('fault'), at, fault: z.string(), target: z.string() },
    phase: z.enum(['start', 'end']),
  }),
  z.object({ type: z.literal('drained'), at }),
  z.object({
    ...{ type: z.literal('commit'), order: z.number(), xid: z.number(), committedAt: z.number() },
    writer: z.object({ term: z.number(), replicaId: z.string() }).optional(),
    changes: z.array(
      z.object({
        table: z.string(),
        kind: z.enum(['insert', 'update', 'delete']),
        // Its values come from our own parser; there are too many of them to look at twice.
        row: z.custom<Record<string, string | null>>((row) => typeof row === 'object'),
      }),
    ),
  }),
])

/** All lines of a folder: what has a time of its own by that, then the commits in their order. */
export async function readHistory(folder: string): Promise<HistoryEvent[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.jsonl')).sort()
  const events: HistoryEvent[] = []
  for (const file of files) {
    const text = await readFile(join(folder, file), 'utf8')
    for (const event of parseLines(file, text)) events.push(event)
  }
  const commits = events.filter((event) => event.type === 'commit')
  const timed = events.filter((event) => event.type !== 'commit')
  return [...timed.sort((a, b) => a.at - b.at), ...commits.sort((a, b) => a.order - b.order)]
}

/** A process that is killed while it writes leaves a last line without an end; nothing else may be amiss. */
function* parseLines(file: string, text: string): Iterable<HistoryEvent> {
  const lines = text.split('\n')
  const rest = lines.pop() ?? ''
  for (const [index, line] of lines.entries()) {
    yield parseLine(line, `${file}:${index + 1}`)
  }
  if (isJson(rest)) yield parseLine(rest, `${file}:${lines.length + 1}`)
}

function parseLine(line: string, place: string): HistoryEvent {
  try {
    return Line.parse(JSON.parse(line)) as HistoryEvent
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error)
    throw new Error(`${place} is no line of a history: ${why}`, { cause: error })
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
