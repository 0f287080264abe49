import type { Clock } from '../clock.ts'
import type { Config } from '../config.ts'
import { isFinal } from '../domain/job.ts'
import { afterEnd, type LeaseEnd } from '../domain/lease.ts'
import type { Gate } from '../leader/gate.ts'
import type { Log } from '../log.ts'
import { Nudge } from '../nudge.ts'
import type { Doors } from '../sql/doors.ts'
import { findRegistered } from '../sql/executors.ts'
import type { PlacedRow } from '../sql/jobs.ts'
import { poolSizes, type Queryable } from '../sql/pool.ts'
import { AuditLog } from './audit.ts'
import { Bulk } from './bulk.ts'
import { Cancels } from './cancels.ts'
import { ClassCatalog } from './class-catalog.ts'
import { Effects } from './effects.ts'
import { Engagements } from './engagements.ts'
import { ExecutorActs } from './executor-acts.ts'
import { ExecutorDirectory } from './executor-directory.ts'
import { ExecutorHealth } from './executor-health.ts'
import { Executors } from './executors.ts'
import { Explanations } from './explain.ts'
import { FailedLogins } from './failed-logins.ts'
import { Heartbeats } from './heartbeats.ts'
import { decodeHint, type Hint } from './hints.ts'
import { InFlight } from './in-flight.ts'
import { JobWaits } from './job-waits.ts'
import { Jobs } from './jobs.ts'
import { Lane } from './lane.ts'
import { LeaseEnds } from './lease-ends.ts'
import { LockWaits } from './lock-waits.ts'
import { Locks } from './locks.ts'
import { Offers } from './offers.ts'
import { Polls } from './polls.ts'
import { ReadyClasses } from './ready-classes.ts'
import { ReaperCounts } from './reaper-counts.ts'
import { Reports } from './reports.ts'
import { Retries } from './retries.ts'
import { Stalls } from './stalls.ts'
import { TokenCache } from './token-cache.ts'
import { Tokens } from './tokens.ts'
import { Transitions } from './transitions.ts'
import { WaitList } from './wait-list.ts'

export interface WiringOptions {
  config: Config
  /** For what executors need. */
  db: Queryable
  /** For what clients ask for. */
  clientDb: Queryable
  doors: Doors
  gate: Gate
  clock: Clock
  log: Log
  sendHint(hint: Hint): void
}

export type Wiring = ReturnType<typeof wireServices>

/** What the services share, and the services themselves. */
export function wireServices(o: WiringOptions) {
  const shared = wireShared(o)
  const { leaseEnds, waits, reaper, wakeNudge, tokenCache } = shared
  const { config, clientDb, doors, log, sendHint } = o
  const work = wireWork(o, shared)
  const news = wireNews(o, shared, work)
  const tokens = new Tokens({
    db: clientDb,
    doors,
    cache: tokenCache,
    failedLogins: new FailedLogins({ log, most: config.failedLoginsPerMinute }),
    adminToken: config.adminToken,
    onChange: () => sendHint({ type: 'tokens' }),
  })
  leaseEnds.subscribe((ends) => {
    reaper.taken(ends)
    if (log.isLevelEnabled('debug')) for (const end of ends) logEnd(log, end)
    for (const { job } of ends) forgetLease(job, shared)
    waits.settled(ends.filter(({ to }) => isFinal(to)).map(({ job }) => job.id))
    if (ends.some(isDelayed)) wakeNudge.nudge()
    news.onClaimable(ends.filter(isClaimable).map((end) => afterEnd(end).class_id))
  })
  const { onPlaced } = news
  const jobs = wireJobs(o, shared, news)
  return { ...shared, ...work, ...jobs, onPlaced, tokens, auditLog: new AuditLog(clientDb) }
}

/** What is asked of jobs by those who do not run them, and by those who do. */
function wireJobs(
  o: WiringOptions,
  shared: ReturnType<typeof wireShared>,
  { onWork, onPlaced }: ReturnType<typeof wireNews>,
) {
  const { config, clientDb, doors } = o
  const base = { ...o, ...shared, ...config.timings }
  const jobs = new Jobs({ ...base, db: clientDb, onPlaced })
  const retries = new Retries({ doors, jobs, onPlaced })
  const cancels = new Cancels({ ...base, jobs })
  const acts = { retry: retries.inBulk, cancel: cancels.inBulk }
  const onResumed = (classId: number) => onWork([classId])
  return {
    jobs,
    retries,
    cancels,
    bulk: new Bulk({ db: clientDb, doors, acts }),
    effects: new Effects({ ...base, jobs, onResumed }),
    transitions: new Transitions({ clientDb, doors, jobs, onPlaced }),
    explanations: new Explanations({ ...base, jobs }),
  }
}

/** What is told of jobs that were submitted, moved or given back. */
function wireNews(
  { gate, log, sendHint }: WiringOptions,
  { catalog, waits, wakeNudge }: ReturnType<typeof wireShared>,
  { polls }: ReturnType<typeof wireWork>,
) {
  const onClaimable = (classIds: number[]) => {
    markReady(catalog, polls, classIds).catch((error) => {
      log.debug({ err: error }, 'classes were not loaded; the scan will find them')
    })
  }
  /** Jobs can be claimed, or can be once they are due: whoever leads is told. */
  const onWork = (classIds: number[], hasScheduled = false) => {
    if (gate.leading) {
      onClaimable(classIds)
      if (hasScheduled) wakeNudge.nudge()
    } else {
      for (const classId of classIds) sendHint({ type: 'claimable', classId })
      if (hasScheduled) sendHint({ type: 'due' })
    }
  }
  const onPlaced = (rows: PlacedRow[]) => {
    waits.settled(rows.filter(({ state }) => isFinal(state)).map(({ id }) => id))
    const available = rows.filter(({ state }) => state === 'available')
    const claimable = available.filter(({ scheduled }) => !scheduled)
    const classIds = new Set(claimable.map(({ class_id }) => class_id))
    onWork([...classIds], claimable.length < available.length)
  }
  return { onClaimable, onWork, onPlaced }
}

function forgetLease(
  { executor_id, id, fence }: LeaseEnd['job'],
  { offers, directory }: Pick<ReturnType<typeof wireShared>, 'offers' | 'directory'>,
): void {
  if (executor_id === null) return
  offers.settle(executor_id, id, fence)
  const entry = directory.find(executor_id)
  if (entry) entry.isBusy = false
}

/** Classes that another replica has added are learned first: those of later stages come with no hint. */
async function markReady(catalog: ClassCatalog, polls: Polls, classIds: number[]): Promise<void> {
  if (!classIds.every((classId) => catalog.classes.has(classId))) await catalog.load()
  polls.markReady(classIds)
}

/** Whatever ended it, a report or a sweep. */
function logEnd(log: Log, { job, outcome, to }: LeaseEnd): void {
  const { id, executor_id, fence, attempt } = job
  log.debug({ job_id: id, executor_id, fence, attempt, outcome, job_state: to }, 'lease ended')
}

function isDelayed({ to, delayMs }: LeaseEnd): boolean {
  return to === 'available' && (delayMs ?? 0) > 0
}

function isClaimable(end: LeaseEnd): boolean {
  return end.to === 'available' && !isDelayed(end)
}

function wireShared({ config, db, clientDb, doors, gate, clock }: WiringOptions) {
  const catalog = new ClassCatalog(db, doors, (jobClass) => directory.addClass(jobClass))
  const directory = new ExecutorDirectory({
    look: (executorIds) => findRegistered(db, executorIds),
    classes: () => catalog.classes,
  })
  const waitList = new WaitList()
  return {
    catalog,
    directory,
    waitList,
    ready: new ReadyClasses(),
    // The shortest interval that an executor can be told: two heartbeats as told are far enough apart.
    offers: new Offers(clock, config.timings.heartbeatMs * 0.9),
    leaseEnds: new LeaseEnds(),
    waits: new JobWaits(clientDb, waitList),
    lockWaits: new LockWaits(clientDb, waitList),
    stalls: new Stalls(clock),
    reaper: new ReaperCounts(gate),
    executorCalls: new InFlight(),
    acts: new ExecutorActs(doors, poolSizes(config.poolSize).leader),
    lane: new Lane(),
    engagements: new Engagements(),
    departures: new Engagements(),
    wakeNudge: new Nudge(),
    tokenCache: new TokenCache(db, clock),
  }
}

function wireWork(o: WiringOptions, shared: ReturnType<typeof wireShared>) {
  const { timings, lostLeaseBudget } = o.config
  const polls = new Polls({ ...o, ...shared, ...timings })
  return {
    polls,
    executors: new Executors({
      ...o,
      ...shared,
      ...timings,
      db: o.clientDb,
      polls,
      lostLeaseBudget,
    }),
    heartbeats: new Heartbeats({ ...o, ...shared, ...timings, polls }),
    reports: new Reports({ ...o, ...shared, polls }),
    executorHealth: new ExecutorHealth({ ...o, ...shared, polls, lostLeaseBudget }),
    locks: new Locks({
      ...o,
      ...shared,
      ...timings,
      onFreed: (name) => o.sendHint({ type: 'unlocked', name }),
    }),
  }
}

/** Acts on a hint from another replica. */
export async function heedHint(payload: string, wiring: Wiring, lookAtLeader: () => void) {
  const hint = decodeHint(payload)
  if (hint?.type === 'claimable') await markReady(wiring.catalog, wiring.polls, [hint.classId])
  if (hint?.type === 'unlocked') wiring.lockWaits.freed(hint.name)
  if (hint?.type === 'due') wiring.wakeNudge.nudge()
  if (hint?.type === 'tokens') wiring.tokenCache.refresh()
  if (hint?.type === 'leader') lookAtLeader()
}
