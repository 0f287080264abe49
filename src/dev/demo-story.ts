import type { ReplicaLine } from './demo-cluster.ts'
import type { FleetEvent } from './demo-fleet.ts'

/** What was killed, and when, by the wall clock that all processes of this machine share. */
export interface Fault {
  at: number
  replica: string
  executor: string
}

export interface StoryLine {
  ms: number
  what: string
}

/** Lines of the replicas since the fault, the first that begins so. */
function findLine(lines: ReplicaLine[], fault: Fault, start: string): ReplicaLine | undefined {
  return lines.find(({ time, msg }) => Date.parse(time) >= fault.at - 1 && msg.startsWith(start))
}

/** When the successor began to serve. What an executor reads before is still an answer of the replica that
 *  was killed, on its way. */
export function servesAgainAt(lines: ReplicaLine[], fault: Fault): number | undefined {
  const opened = findLine(lines, fault, 'active')
  return opened && Date.parse(opened.time)
}

/** The failover as its witnesses tell it: the successor's log, and the executors that lived on. */
export function tellStory(
  fault: Fault,
  lines: ReplicaLine[],
  fleet: { id: string; events: FleetEvent[] }[],
): StoryLine[] {
  const find = (start: string) => findLine(lines, fault, start)
  const story: StoryLine[] = [
    { ms: 0, what: `kill -9: ${fault.replica}, the active replica, and ${fault.executor}` },
  ]
  const add = (line: ReplicaLine | undefined, what: (line: ReplicaLine) => string) => {
    if (line) story.push({ ms: Math.max(0, Date.parse(line.time) - fault.at), what: what(line) })
  }
  add(find('lock granted'), ({ replica }) => `${replica} was granted the lock`)
  add(find('promoted'), ({ replica, term }) => `${replica} leads, term ${term}`)
  add(find('active'), () => 'recovered; the gate is open')
  for (const call of ['poll', 'heartbeat', 'report'] as const) {
    const first = firstServed(fleet, call, servesAgainAt(lines, fault) ?? fault.at)
    if (first) story.push({ ms: first.at - fault.at, what: `first ${call} served, of ${first.id}` })
  }
  return story.sort((a, b) => a.ms - b.ms)
}

function firstServed(
  fleet: { id: string; events: FleetEvent[] }[],
  call: string,
  after: number,
): { at: number; id: string } | undefined {
  const served = fleet.flatMap(({ id, events }) =>
    events
      .filter((event) => event.type === 'served' && event.call === call && event.at >= after)
      .map(({ at }) => ({ at, id })),
  )
  return served.sort((a, b) => a.at - b.at)[0]
}
