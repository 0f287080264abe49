import { setTimeout as sleep } from 'node:timers/promises'
import type {
  Assignment,
  HeartbeatAnswer,
  PollAnswer,
  Registered,
} from '../../../src/contract/executors.ts'
import { type Callee, Caller } from './http.ts'
import { serve } from './serve.ts'
import { sideBySide } from './together.ts'

/** Executors that hold jobs and beat. */

export type Heartbeats = {
  /** Registers executors; each of the first `holding` claims a job, and holds it. */
  open(order: Callee & { executors: number; connections: number; holding: number }): Promise<null>
  /** So many a second, whether or not the ones before were answered, each by the next executor. The milliseconds that
   *  each took, from when it was due. */
  beat(order: { perSecond: number; seconds: number }): Promise<{ took: number[]; seconds: number }>
}

interface Member {
  path: string
  epoch: number
  assignments: { job_id: string; fence: number }[]
}

let caller: Caller
let members: Member[] = []

const acts: Heartbeats = {
  open: async ({ executors, connections, holding, ...callee }) => {
    caller = new Caller(callee, 'executor', connections)
    members = []
    let next = 0
    await sideBySide(64, async () => {
      while (next < executors) await join(next++, holding)
    })
    return null
  },
  beat: async ({ perSecond, seconds }) => {
    const took: number[] = []
    const beats: Promise<void>[] = []
    const started = performance.now()
    const total = perSecond * seconds
    while (beats.length < total) {
      const due = Math.min(total, Math.ceil(((performance.now() - started) / 1_000) * perSecond))
      while (beats.length < due) {
        const dueAt = started + (beats.length / perSecond) * 1_000
        beats.push(beat(beats.length).then(() => void took.push(performance.now() - dueAt)))
      }
      await sleep(1)
    }
    await Promise.all(beats)
    return { took, seconds: (performance.now() - started) / 1_000 }
  },
}
serve(acts)

async function join(nth: number, holding: number): Promise<void> {
  const { executor_id, epoch } = await caller.post<Registered>('/v1/executors/register', {
    executor_id: `beating-${nth}`,
  })
  const path = `/v1/executors/${executor_id}`
  const held = nth < holding ? await claim(path, epoch) : []
  members[nth] = { path, epoch, assignments: held.map(({ job_id, fence }) => ({ job_id, fence })) }
}

async function claim(path: string, epoch: number): Promise<Assignment[]> {
  const { assignments } = await caller.post<PollAnswer>(`${path}/poll`, { epoch, wait_ms: 5_000 })
  if (assignments.length === 0) throw new Error('there was no job to hold')
  return assignments
}

async function beat(nth: number): Promise<void> {
  const member = members[nth % members.length]
  if (!member) throw new Error('nobody is registered')
  const { path, epoch, assignments } = member
  const answer = await caller.post<HeartbeatAnswer>(`${path}/heartbeat`, { epoch, assignments })
  if (answer.held.length !== assignments.length) throw new Error('a lease was lost')
}
