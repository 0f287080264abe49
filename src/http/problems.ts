import { Problem } from '../contract/common.ts'

/** The refusals that every route behind a token can give, and those that are its own. */
export function problems<Status extends number = never>(...own: Status[]) {
  const statuses = [400, 401, 403, 503, ...own] as const
  return Object.fromEntries(statuses.map((status) => [status, Problem])) as Record<
    400 | 401 | 403 | 503 | Status,
    typeof Problem
  >
}
