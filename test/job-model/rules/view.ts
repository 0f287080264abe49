import type { View } from '../tables.ts'
import { isFinal, type Job, type State } from './state.ts'

/** What the model holds to be durable, as the tables are looked at. */
export function viewOf(state: State): View {
  const jobs = Object.values(state.jobs).sort(byId)
  const of = <T>(rows: (job: Job) => T[]) => jobs.flatMap(rows)
  return {
    term: state.term,
    executors: Object.entries(state.executors)
      .map(([executor, { epoch }]) => ({ executor, epoch }))
      .sort((a, b) => (a.executor < b.executor ? -1 : 1)),
    jobs: jobs.map((job) => jobView(state, job)),
    attempts: of(({ attempts }) => attempts.map((attempt) => ({ ...attempt }))),
    effects: of(({ id, effects }) =>
      Object.entries(effects)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, { state, onDoubt, token, begun, holds }]) => {
          return { job: id, key, state, onDoubt, token, ...begun, holds }
        }),
    ),
    stages: of(({ id, stages }) => stages.map(({ name, isDone }) => ({ job: id, name, isDone }))),
    transitions: of(({ id, transitions }) =>
      transitions
        .map(({ token, outcome, committedMove }) => {
          return { job: id, token, outcome, move: committedMove }
        })
        .sort((a, b) => (a.token < b.token ? -1 : 1)),
    ),
    moves: of(({ id, moves }) =>
      moves.map(({ move, from, to, by }) => ({ job: id, move, from, to, by })),
    ),
    late: of(({ id, late }) => [...late].sort().map((evidence) => ({ job: id, evidence }))),
  }
}

function byId(a: Job, b: Job): number {
  return a.id < b.id ? -1 : 1
}

function jobView({ now }: State, job: Job): View['jobs'][number] {
  const { id, state, isScheduled, fence, attempt, lostLeases, holder, stage, move } = job
  const { isCancelRequested, cancelToldAt, waitingFor, key, retryOf, retriedAs } = job
  return {
    id,
    state,
    isScheduled,
    fence,
    attempt,
    lostLeases,
    executor: holder?.executor ?? null,
    epoch: holder?.epoch ?? null,
    leaseLeft: holder ? holder.expiresAt - now : null,
    isOffered: holder?.isOffered ?? false,
    isCancelRequested,
    isCancelTold: cancelToldAt !== null,
    stage,
    move,
    waitingFor: isFinal(job) ? null : waitingFor,
    key,
    retryOf,
    retriedAs,
  }
}
