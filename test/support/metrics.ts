import { setTimeout as sleep } from 'node:timers/promises'
import type { Api } from './api.ts'

/** One scrape, as Prometheus reads it. */
export class Metrics {
  readonly text: string
  readonly #series: Map<string, number>

  constructor(text: string) {
    this.text = text
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    const parts = lines.map((line) => /^(\S+?(?:\{.*\})?) (\S+)$/.exec(line) ?? [])
    this.#series = new Map(
      parts.map(([, series = '', value = '']) => [
        series.replace('understudy_', ''),
        value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value),
      ]),
    )
  }

  /** Series without the prefix, and labels in the order in which they are told. */
  get series(): string[] {
    return [...this.#series.keys()]
  }

  /** Undefined: there is no such series. */
  value(series: string): number | undefined {
    return this.#series.get(series)
  }

  /** The values of all series of a metric, by their labels as they are told; without those that are 0. */
  by(name: string): Record<string, number> {
    const own = [...this.#series].filter(([key, value]) => key.startsWith(`${name}{`) && value > 0)
    return Object.fromEntries(own.map(([key, value]) => [key.slice(name.length), value]))
  }
}

export async function scrape(api: Api): Promise<Metrics> {
  return new Metrics((await api.must(200, api.as(undefined).get('/metrics'))).body)
}

/** Scrapes until it shows what is waited for. */
export async function untilMetrics(api: Api, shows: (metrics: Metrics) => boolean) {
  for (;;) {
    const metrics = await scrape(api)
    if (shows(metrics)) return metrics
    await sleep(20)
  }
}
