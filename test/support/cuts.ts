import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import type { Seams } from '../../src/app.ts'
import { type CuttingProxy, startCuttingProxy } from './cutting-proxy.ts'
import type { TestDatabase } from './database.ts'
import { pause } from './pause.ts'
import { startActive, type TestReplica } from './replica.ts'

export interface CutPath<Given> {
  /** Undisturbed: what one run needs. */
  prepare(): Promise<Given>
  /** Meets the cut. */
  act(given: Given): Promise<unknown>
  /** Undisturbed: what must hold however far the act came, and after it was asked for again. */
  settle(given: Given): Promise<void>
}

/** A replica whose pools meet the proxy; leadership goes straight to Postgres. */
export async function startCut(
  db: TestDatabase,
  env: Record<string, string> = {},
  seams: Seams = {},
) {
  const proxy = await startCuttingProxy(db.url)
  const replica = await startActive(
    db,
    { DATABASE_URL: proxy.url, UNDERSTUDY_LEADER_DATABASE_URL: db.url, ...env },
    seams,
  )
  // What the opening of the gate writes is written.
  while ((await replica.api.get('/v1/status')).body.sweeps.length === 0);
  const queue = `q-${randomUUID().slice(0, 8)}`
  const executor = `e-${randomUUID().slice(0, 8)}`
  const epoch = await replica.api.register(executor, { queues: [queue] })
  return { ...replica, proxy, queue, executor, epoch }
}

/** Walks the path again and again, and ends a session of the pools before and after each of its
 *  statements in turn, until a walk meets no new point. Prints and returns the points. */
export async function cutEverywhere<Given>(
  name: string,
  { app, proxy }: Pick<TestReplica, 'app'> & { proxy: CuttingProxy },
  { prepare, act, settle }: CutPath<Given>,
): Promise<string[]> {
  const done = new Set<string>()
  for (let isOver = false; !isOver; ) {
    const given = await prepare()
    proxy.arm(done)
    await act(given)
    const cut = proxy.disarm()
    await settle(given)
    await untilAtRest(app.pools)
    if (cut === undefined) isOver = true
    else done.add(cut)
  }
  const points = [...done]
  process.stdout.write(`  ${name}: cut at ${points.length} points\n`)
  for (const when of ['before', 'after']) {
    expect(points.some((point) => point.startsWith(`${when} BEGIN`))).toBe(true)
    expect(points).toContain(`${when} COMMIT 1`)
  }
  return points
}

/** Nothing leaked, and nobody waits. */
async function untilAtRest(pools: TestReplica['app']['pools']): Promise<void> {
  const isAtRest = () =>
    Object.values(pools).every(
      (pool) => pool.totalCount === pool.idleCount && pool.waitingCount === 0,
    )
  while (!isAtRest()) await pause()
}

/** Asks again until it is answered with something else than 503. */
export async function untilServed<A extends { status: number }>(ask: () => Promise<A>): Promise<A> {
  for (;;) {
    const answer = await ask()
    if (answer.status !== 503) return answer
    await pause()
  }
}
