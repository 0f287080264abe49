import type pg from 'pg'
import { connectionOptions } from '../../src/sql/session.ts'

/** For sessions that tests open themselves: nothing is judged by how long a busy machine takes for that. */
export function patientOptions(url: string, name: string): pg.ClientConfig {
  return { ...connectionOptions(url, name), connectionTimeoutMillis: 0, query_timeout: 0 }
}

/** Variables of a replica: a busy machine may stall a process for a while, and that ends no term. One that freezes is
 *  replaced soon enough all the same: before an executor fences itself. */
export const patience = {
  UNDERSTUDY_TRUST_WINDOW_MS: '8000',
  UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '9000',
}
