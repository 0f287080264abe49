import { firstIndex, toleranceMs } from './clocks.ts'
import type { ReplicaEvent } from './events.ts'
import type { Indexed, TermLife } from './indexed.ts'
import { termsThatWentBack } from './one-writer.ts'
import { type Done, doneOps, termNamedBy } from './requests.ts'
import { eventsOf, type Rule } from './violation.ts'

/** Invariant 12. A replica may serve from the commit that records its recovery to that of the next promotion. */

type Served = Done<'register' | 'poll' | 'heartbeat' | 'report'>

const onlyTheActiveServes: Rule = function* onlyTheActiveServes(h) {
  const all = recovered(h)
  const byReplica = Map.groupBy(all, ({ replicaId }) => replicaId)
  const findPlace = placesOf(h)
  for (const op of served(h)) {
    const { replicas, name } = findPlace(op)
    const called = candidates(replicas ?? [], op)
    const isAnybody = called.length === 0 && replicas?.length !== 0
    const terms = isAnybody ? [all] : called.map((id) => byReplica.get(id) ?? [])
    if (terms.some((list) => findServing(list, op))) continue
    const { executorId, kind } = op.ask
    const who = called.length > 0 ? called.join(' or ') : `any replica behind ${name}`
    const what = `a ${kind} of executor ${executorId} was answered ${op.answer.status} by ${who}, which could not serve then`
    const near = nearest(h.terms, op.invoke.at)
    const events = [...near.map(({ promoted }) => promoted.event), ...eventsOf(op)]
    yield { what, executorId, at: op.answer.at, events }
  }
}

const answersNameTheTermThatServed: Rule = function* answersNameTheTermThatServed(h) {
  // Told after a newer one: that is invariant 1.
  const wentBack = new Set(termsThatWentBack(h.ops).map(({ op }) => op))
  const byTerm = new Map(recovered(h).map((life) => [life.term, life]))
  for (const op of doneOps(h.ops, 'heartbeat')) {
    const term = termNamedBy(op)
    const life = byTerm.get(term)
    if (wentBack.has(op) || (life && findServing([life], op))) continue
    const { executorId } = op.ask
    const what = `executor ${executorId} was answered under term ${term}, which did not serve then`
    const events = [...(life ? [life.promoted.event] : []), ...eventsOf(op)]
    yield { what, executorId, term, at: op.answer.at, events }
  }
}

export const onlyActive = [onlyTheActiveServes, answersNameTheTermThatServed]

function served({ ops }: Indexed): Served[] {
  return (['register', 'poll', 'heartbeat', 'report'] as const).flatMap((kind): Served[] =>
    doneOps(ops, kind),
  )
}

/** Terms whose recovery was recorded; their times follow one upon the other. */
function recovered({ terms }: Indexed): (TermLife & { recoveredAt: number })[] {
  return terms.flatMap((life) => {
    const { recoveredAt } = life
    return recoveredAt === undefined ? [] : [{ ...life, recoveredAt }]
  })
}

/** A term that served at some time between question and answer. */
function findServing(lives: (TermLife & { recoveredAt: number })[], op: Served) {
  const from = op.invoke.at - toleranceMs
  const life = lives[firstIndex(lives.length, (index) => (lives[index]?.until ?? 0) >= from)]
  return life && life.recoveredAt <= op.answer.at + toleranceMs ? life : undefined
}

/** Where an answer came from, and all that ever ran there: at the URL that was called, or at the server that
 *  the balancer names. undefined: the history does not say. */
function placesOf({ replicas }: Indexed) {
  const byUrl = Map.groupBy(replicas, ({ url }) => bare(url))
  const balanced = replicas.filter(({ server }) => server !== undefined)
  const byServer = Map.groupBy(balanced, ({ server }) => server)
  return ({ invoke, answer }: Served): { replicas: ReplicaEvent[] | undefined; name: string } => {
    const direct = byUrl.get(bare(invoke.url))
    const { servedBy } = answer
    if (direct || servedBy === undefined || byServer.size === 0) {
      return { replicas: direct, name: invoke.url }
    }
    return { replicas: byServer.get(servedBy) ?? [], name: `${invoke.url} as ${servedBy}` }
  }
}

/** The processes that this place can have meant between question and answer: the last that began before,
 *  and any that began meanwhile. */
function candidates(replicas: ReplicaEvent[], { invoke, answer }: Served): string[] {
  const after = firstIndex(replicas.length, (index) => (replicas[index]?.at ?? 0) > answer.at)
  const ids: string[] = []
  for (let index = after - 1; index >= 0; index -= 1) {
    const replica = replicas[index]
    if (replica) ids.push(replica.replicaId)
    if (replica && replica.at < invoke.at) break
  }
  return ids
}

function nearest(lives: TermLife[], at: number): TermLife[] {
  const after = firstIndex(lives.length, (index) => (lives[index]?.promoted.at ?? 0) > at)
  return lives.slice(Math.max(0, after - 1), after + 1)
}

function bare(url: string): string {
  return url.replace(/\/+$/, '')
}
