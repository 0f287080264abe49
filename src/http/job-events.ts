import type { FastifyBaseLogger } from 'fastify'

declare module 'fastify' {
  interface FastifyBaseLogger {
    isLevelEnabled(level: string): boolean
  }
}

/** One line per job, so that a job's id finds its whole life; the request's id is on each. Names and numbers
 *  alone: what a job carries is nobody's to read here. */
export interface JobEvent {
  job_id: string
  executor_id?: string
  fence?: number
  attempt?: number
  outcome?: string
  status?: string
  reason?: string | undefined
  job_state?: string | null
}

/** Costs nothing unless somebody reads it. */
export function logJobs(log: FastifyBaseLogger, event: string, jobs: () => JobEvent[]): void {
  if (!log.isLevelEnabled('debug')) return
  for (const job of jobs()) log.debug(job, event)
}
