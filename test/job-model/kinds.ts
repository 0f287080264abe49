import { isDeepStrictEqual } from 'node:util'
import type { Answer, Call } from './calls.ts'
import { isRefused } from './calls.ts'
import type { View } from './tables.ts'

/** What was durable before a call that had nothing beside it, and what after: all of the change is its own. */
export interface Change {
  before: View
  after: View
}

/** What was asked, and what it came to. What answers the same whether or not there was anything to do is told by its
 *  change. */
export function kindOf(call: Call, answer: Answer, change: Change | undefined): string {
  const what = 'name' in call ? call.name : call.do
  return `${what}: ${comingOf(call, answer, change)}`
}

function comingOf(call: Call, answer: Answer, change: Change | undefined): string {
  if (isRefused(answer)) return answer.refused
  const { ok } = answer
  if (call.do === 'report') return String(ok.reason ?? ok.status)
  if (call.do === 'begin') return String(ok.outcome)
  if (call.do === 'poll') return isAny(ok.given) ? 'given' : 'nothing'
  if (call.do === 'heartbeat') {
    if (change && undeliveredIn(change.after) > undeliveredIn(change.before)) return 'gave back'
    if (isAny(ok.cancel)) return 'told to stop'
    return isAny(ok.revoked) ? 'revoked' : 'done'
  }
  if (call.do === 'sweep' || call.do === 'promote') return hasActed(change) ? 'acted' : 'done'
  if (ok.isNew === false) return 'replayed'
  if (call.do === 'settle' || call.do === 'resolve') return String(ok.state)
  return 'done'
}

function isAny(list: unknown): boolean {
  return (list as unknown[]).length > 0
}

function undeliveredIn({ attempts }: View): number {
  return attempts.filter(({ ending }) => ending === 'undelivered').length
}

/** On anything but the term, which every promotion raises. */
function hasActed(change: Change | undefined): boolean {
  if (!change) return false
  return !isDeepStrictEqual({ ...change.before, term: change.after.term }, change.after)
}
