import { constants, PerformanceObserver, performance } from 'node:perf_hooks'
import type { defineMetrics } from './definitions.ts'

type Watched = Pick<
  ReturnType<typeof defineMetrics>,
  'loopDelay' | 'gc' | 'cpu' | 'memory' | 'heap' | 'startedAt'
>

const everyMs = 20

const gcKinds: Record<number, string> = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weakcb',
}

/** The process itself. Not prom-client's own metrics: those never stop watching, list every socket at each
 *  scrape, and start their percentiles of the event loop anew with it, whoever else scrapes. */
export class ProcessWatch {
  readonly #all: Watched
  readonly #gc: PerformanceObserver
  #timer: NodeJS.Timeout | undefined
  #cpuSeconds = 0

  constructor(all: Watched) {
    this.#all = all
    all.startedAt.set(performance.timeOrigin / 1_000)
    this.#gc = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const { kind } = (entry as unknown as { detail: { kind: number } }).detail
        all.gc.observe({ kind: gcKinds[kind] ?? 'other' }, entry.duration / 1_000)
      }
    })
  }

  start(): void {
    this.#gc.observe({ entryTypes: ['gc'] })
    let dueAt = performance.now() + everyMs
    this.#timer = setInterval(() => {
      const now = performance.now()
      this.#all.loopDelay.observe(Math.max(0, now - dueAt) / 1_000)
      dueAt = now + everyMs
    }, everyMs)
    // It must not be what keeps the process alive.
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#gc.disconnect()
  }

  look(): void {
    const { user, system } = process.cpuUsage()
    const cpuSeconds = (user + system) / 1e6
    this.#all.cpu.inc(Math.max(0, cpuSeconds - this.#cpuSeconds))
    this.#cpuSeconds = cpuSeconds
    const { rss, heapUsed } = process.memoryUsage()
    this.#all.memory.set(rss)
    this.#all.heap.set(heapUsed)
  }
}
