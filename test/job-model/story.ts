import type { Answer, Call } from './calls.ts'
import { isRefused } from './calls.ts'

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

/** What was done and answered, to be read by people: what has an id is called by a short name. */
export class Story {
  readonly lines: string[] = []
  readonly #names = new Map<string, string>()
  #steps = 0

  add(calls: Call[], answers: Answer[]): void {
    this.#steps += 1
    for (const [index, call] of calls.entries()) {
      const place = index === 0 ? `${this.#steps}.`.padStart(4) : '   +'
      const answer = this.rename(tellAnswer(answers[index]))
      this.lines.push(`${place} ${this.rename(tellCall(call)).padEnd(70)} → ${answer}`)
    }
  }

  rename(text: string): string {
    return text.replaceAll(uuid, (id) => {
      const name = this.#names.get(id) ?? `#${this.#names.size + 1}`
      this.#names.set(id, name)
      return name
    })
  }
}

function tellCall({ do: what, ...call }: Call): string {
  return `${what} ${tell(call)}`
}

function tellAnswer(answer: Answer | undefined): string {
  if (!answer) return ''
  return isRefused(answer) ? answer.refused : tell(answer.ok) || 'done'
}

function tell(given: Record<string, unknown>): string {
  return Object.entries(given)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${tellValue(value)}`)
    .join(' ')
}

function tellValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(tellValue).join(', ')}]`
  if (typeof value === 'object' && value !== null) return `{${tell({ ...value })}}`
  return String(value)
}
