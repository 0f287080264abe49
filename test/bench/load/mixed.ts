import { setTimeout as sleep } from 'node:timers/promises'
import type { Assignment } from '../../../src/contract/executors.ts'
import { percentile } from '../figures.ts'
import { Executors } from './executors.ts'
import { type Callee, Caller } from './http.ts'
import { serve } from './serve.ts'
import { payload, sideBySide } from './together.ts'

/** Clients and executors as many users have them, in one process, so that one clock judges both: half of the jobs are
 *  submitted one a call, half a hundred a call; executors poll for up to ten, and report what they were given. */

export type Mixed = {
  open(order: Callee & { executors: number }): Promise<null>
  /** As fast as it goes, with a backlog of a thousand at most. Jobs done a second. */
  saturate(order: { seconds: number }): Promise<number>
  /** From now on submits so many jobs a second, whether or not they are done, or the submits before were answered. */
  flow(order: { perSecond: number }): Promise<null>
  /** What came since the last look, or since it flows. */
  look(order: null): Promise<Look>
  /** Submits no more. Returns when all is done. */
  halt(order: null): Promise<null>
}

export interface Look {
  seconds: number
  done: number
  /** All jobs that there are by now: none is ever pruned. */
  kept: number
  /** 99 of a hundred took no longer, in milliseconds: from when the submit of one job was due until its answer; */
  submitMs: number
  /** from the answer to a poll until the answer to its report; */
  reportMs: number
  /** and from when a job's submit was due until the answer to its report. */
  throughMs: number
  failures: number
}

const many = 100
const mostWaiting = 1_000

let client: Caller
let executors: Executors
let [submitted, done] = [0, 0]
let isFlowing = false
let took = nothing()

function nothing() {
  const [submit, report, through]: [number[], number[], number[]] = [[], [], []]
  return { since: performance.now(), done, submit, report, through, failures: 0 }
}

const acts: Mixed = {
  open: async ({ executors: count, ...callee }) => {
    client = new Caller(callee, 'submit', 64)
    executors = new Executors({ ...callee, executors: count, max: 10, onDone })
    await executors.start()
    return null
  },
  saturate: async ({ seconds }) => {
    const [since, before] = [performance.now(), done]
    const isOver = () => performance.now() - since > seconds * 1_000
    let calls = 0
    await sideBySide(32, async () => {
      while (!isOver()) {
        if (submitted - done > mostWaiting) await sleep(1)
        else await submit(calls++ % (many + 1) === 0 ? many : 1)
      }
    })
    const perSecond = (done - before) / ((performance.now() - since) / 1_000)
    await untilDone()
    return perSecond
  },
  flow: async ({ perSecond }) => {
    isFlowing = true
    took = nothing()
    // Half of the jobs each.
    void submitDue(1, perSecond / 2)
    void submitDue(many, perSecond / 2 / many)
    return null
  },
  look: async () => {
    const { since, submit, report, through, failures, ...before } = took
    took = nothing()
    const failed = failures + executors.failures.length
    executors.failures = []
    return {
      seconds: (took.since - since) / 1_000,
      done: took.done - before.done,
      kept: submitted,
      submitMs: percentile(submit, 0.99),
      reportMs: percentile(report, 0.99),
      throughMs: percentile(through, 0.99),
      failures: failed,
    }
  },
  halt: async () => {
    isFlowing = false
    await untilDone()
    return null
  },
}
serve(acts)

/** Submits of this size, so many a second. */
async function submitDue(size: number, perSecond: number): Promise<void> {
  const started = performance.now()
  for (let nth = 0; isFlowing; ) {
    const due = ((performance.now() - started) / 1_000) * perSecond
    for (; nth < due; nth += 1) void submitCounted(size, started + (nth / perSecond) * 1_000)
    await sleep(1)
  }
}

async function submitCounted(size: number, dueAt: number): Promise<void> {
  try {
    await submit(size, dueAt)
    // Those of many are too few for a percentile, and take longer.
    if (size === 1) took.submit.push(performance.now() - dueAt)
  } catch {
    took.failures += 1
  }
}

async function submit(size: number, dueAt = performance.now()): Promise<void> {
  const jobs = Array.from({ length: size }, (_, nth) => ({
    kind: 'noop',
    payload: { ...payload(nth), dueAt },
  }))
  if (size === 1) await client.post('/v1/jobs', jobs[0])
  else await client.post('/v1/jobs/batch', { jobs })
  submitted += size
}

function onDone(assignments: Assignment[], msHeld: number): void {
  const now = performance.now()
  done += assignments.length
  took.report.push(msHeld)
  for (const { payload } of assignments) {
    took.through.push(now - (payload as { dueAt: number }).dueAt)
  }
}

async function untilDone(): Promise<void> {
  while (done < submitted) await sleep(10)
}
