import type { z } from 'zod'
import { Problem } from '../contract/common.ts'

/** An answer that succeeds, as the API document describes it. */
export function answer<Schema extends z.ZodType>(description: string, schema: Schema) {
  return { description, content: { 'application/json': { schema } } }
}

const meanings = {
  400: 'A field is at fault; `errors` names it.',
  401: 'The token is missing, unknown, expired or revoked.',
  403: 'The token may not do this.',
  404: 'There is no such thing.',
  409: 'It does not fit what is there: see `code`.',
  413: 'Larger than this route takes.',
  415: 'Send application/json.',
  429: 'Too many tokens of this address were wrong of late.',
  503: 'Nothing was done; try again, where and when it says.',
} as const

type Status = keyof typeof meanings

/** The refusals that every route behind a token can give, and those that are its own. */
export function problems<Own extends Status = never>(...own: Own[]) {
  return refusals<400 | 401 | 403 | 429 | 503 | Own>(400, 401, 403, 429, 503, ...own)
}

/** These refusals, as the API document describes them. */
export function refusals<Own extends Status>(...statuses: Own[]) {
  return Object.fromEntries(statuses.map((status) => [status, refusal(status)])) as Record<
    Own,
    ReturnType<typeof refusal>
  >
}

function refusal(status: Status) {
  return {
    description: meanings[status],
    content: { 'application/problem+json': { schema: Problem } },
  }
}
