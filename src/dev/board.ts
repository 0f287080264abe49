import { table } from '../cli/print.ts'
import type { Status } from '../contract/cluster.ts'

export interface BoardFacts {
  status: Status | undefined
  replicas: { name: string; pid: number; url: string; state: string }[]
  newestJobId: string | undefined
  folder: string
}

/** Draws the facts over the last ones on a terminal; elsewhere prints them when they change. */
export class Board {
  readonly #out: NodeJS.WriteStream
  #drawn = 0
  #last = ''

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
  }

  show(facts: BoardFacts): void {
    if (this.#out.isTTY) this.#draw(facts)
    else this.#showChange(facts)
  }

  #draw(facts: BoardFacts): void {
    // What has scrolled away can't be drawn over; the least telling comes last.
    const lines = boardLines(facts).slice(0, Math.max(1, (this.#out.rows || 50) - 1))
    const back = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : ''
    this.#out.write(`${back}\x1b[0J${lines.join('\n')}\n`)
    // A line that is wider than the terminal takes several rows.
    const width = this.#out.columns || 80
    this.#drawn = lines.reduce(
      (rows, { length }) => rows + Math.max(1, Math.ceil(length / width)),
      0,
    )
  }

  #showChange(facts: BoardFacts): void {
    const { replicas, status } = facts
    const text = `term ${status?.leader.term ?? '?'}: ${replicas.map(({ name, state }) => `${name} ${state}`).join(', ')}`
    if (text === this.#last) return
    if (this.#last === '') this.#out.write(`${commandLines(facts).join('\n')}\n`)
    this.#last = text
    this.#out.write(`${new Date().toISOString()} ${text}\n`)
  }
}

function boardLines(facts: BoardFacts): string[] {
  const { status, replicas, folder } = facts
  return [
    '',
    `understudy dev    term ${status?.leader.term ?? '?'}    logs in ${folder}/logs    Ctrl-C stops everything`,
    '',
    ...table(
      ['', 'replica', 'state', 'pid', 'url'],
      replicas.map(({ name, state, pid, url }) => [
        state === 'active' ? '*' : '',
        name,
        state,
        pid,
        url,
      ]),
    ),
    '',
    ...commandLines(facts),
    '',
    ...table(
      ['queue', 'available', 'scheduled', 'leased', 'failed'],
      (status?.queues ?? []).map((queue) => [
        queue.queue,
        queue.available,
        queue.scheduled,
        queue.leased,
        queue.failed,
      ]),
    ),
    '',
    ...table(
      ['executor', 'epoch', 'state', 'leases', 'capacity'],
      (status?.executors ?? []).map((executor) => [
        executor.executor_id,
        executor.epoch,
        executor.state,
        executor.leases,
        executor.capacity,
      ]),
    ),
  ]
}

function commandLines({ replicas, newestJobId }: BoardFacts): string[] {
  const active = replicas.find(({ state }) => state === 'active')
  const job = newestJobId
    ? `npx understudy job get ${newestJobId} --wait-ms 60000`
    : 'npx understudy job list'
  const kill = active ? `kill -9 ${active.pid}` : 'kill -9 …'
  return [
    'In a second terminal, in this folder: submit a job, follow it,',
    `and end ${active?.name ?? 'the active replica'} to watch the other step in:`,
    '',
    `  npx understudy submit --kind hello --payload '{"name":"you"}'`,
    `  ${job}`,
    `  ${kill}`,
  ]
}
