import type { AnswerEvent, HistoryEvent } from './events.ts'

/** What an actor was answered, in order. */
export function answersTo(events: HistoryEvent[], actor: string): AnswerEvent[] {
  return events.filter(
    (event) => event.type === 'answer' && event.op.startsWith(`${actor}:`),
  ) as AnswerEvent[]
}
