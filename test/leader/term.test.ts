import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Gate } from '../../src/leader/gate.ts'
import { Term } from '../../src/leader/term.ts'

/** A clock that a test moves. */
function manualClock() {
  let now = 0
  return {
    clock: { ...systemClock, monotonic: () => now },
    moveTo: (ms: number) => {
      now = ms
    },
  }
}

test('invariant 8: trust ends at its deadline, by the clock alone, and is not revived by a late answer', () => {
  const { clock, moveTo } = manualClock()
  const term = new Term(7, 'r', clock, 2_000)
  moveTo(1_999)
  expect(term.isTrusted()).toBe(true)
  moveTo(2_000)
  term.extendTrust(9_000)
  expect(term.isTrusted()).toBe(false)
  expect(term.lost.aborted).toBe(true)
  expect(term.endReason).toBe('trust_expired')
})

test('an answer to an earlier ping never shortens trust', () => {
  const { clock, moveTo } = manualClock()
  const term = new Term(7, 'r', clock, 2_000)
  term.extendTrust(3_000)
  term.extendTrust(2_500)
  moveTo(2_999)
  expect(term.isTrusted()).toBe(true)
})

test('a term is lost once; the first reason stands', () => {
  const { clock } = manualClock()
  const term = new Term(7, 'r', clock, 2_000)
  term.lose('fenced')
  term.lose('hand_over')
  expect(term.endReason).toBe('fenced')
})

test('the gate opens for the term that recovers, and asks its trust at every look', () => {
  const { clock, moveTo } = manualClock()
  const gate = new Gate()
  const term = new Term(7, 'r', clock, 2_000)
  expect(gate.state).toBe('standby')
  gate.open(term)
  expect(gate.state).toBe('standby')
  gate.recovering(term)
  expect([gate.state, gate.leading, gate.serving]).toEqual(['recovering', term, undefined])
  gate.open(term)
  expect([gate.state, gate.serving]).toEqual(['active', term])
  moveTo(2_000)
  expect([gate.state, gate.leading, gate.serving]).toEqual(['standby', undefined, undefined])
})

test('late calls of an old tenure do not touch the gate of a newer one', () => {
  const { clock } = manualClock()
  const gate = new Gate()
  const old = new Term(7, 'r', clock, 2_000)
  const current = new Term(8, 'r', clock, 2_000)
  gate.recovering(old)
  old.lose('session_ended')
  gate.recovering(current)
  gate.open(old)
  expect(gate.state).toBe('recovering')
  gate.open(current)
  gate.close(old)
  gate.recovering(old)
  expect([gate.state, gate.serving]).toEqual(['active', current])
})

test('a term that is handed over serves nobody again; the next one may', () => {
  const { clock } = manualClock()
  const gate = new Gate()
  const term = new Term(7, 'r', clock, 2_000)
  gate.recovering(term)
  gate.open(term)
  gate.handOver(term)
  gate.recovering(term)
  gate.open(term)
  expect([gate.state, gate.serving, gate.leading]).toEqual(['draining', undefined, undefined])
  gate.close(term)
  expect(gate.state).toBe('standby')
  const next = new Term(8, 'r', clock, 2_000)
  gate.recovering(next)
  gate.handOver(term)
  gate.open(next)
  expect(gate.state).toBe('active')
})

test('draining is for good', () => {
  const { clock } = manualClock()
  const gate = new Gate()
  const term = new Term(7, 'r', clock, 2_000)
  gate.recovering(term)
  gate.drain()
  gate.open(term)
  gate.recovering(term)
  gate.close(term)
  expect(gate.state).toBe('draining')
  expect(gate.serving).toBeUndefined()
})
