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
  const byUrl = Map.groupBy(h.replicas, ({ url }) => bare(url))
  for (const op of served(h)) {
    const called = candidates(byUrl.get(bare(op.invoke.url)) ?? [], op)
    const terms = called.length > 0 ? called.map((id) => byReplica.get(id) ?? []) : [all]
    if (terms.some((list) => findServing(list, op))) continue
    const { executorId, kind } = op.ask
    const who = called.length > 0 ? called.join(' or ') : `any replica behind ${op.invoke.url}`
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

/** The processes that this URL can have meant between question and answer: the last that began before,
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
