import { expect, test } from 'vitest'
import { badStories } from './bad-stories.ts'
import { check, rulesByInvariant } from './check.ts'
import { goodStory } from './good-story.ts'
import { lawfulStories } from './lawful-stories.ts'
import { leaseTtlMs, rowOf, Story } from './stories.ts'

test('a history in which everything went as it should passes', () => {
  expect(check(goodStory().s.events)).toEqual([])
})

test.each(badStories)('invariant $invariant: $title', ({ invariant, rule, change }) => {
  const good = goodStory()
  change(good)
  const violations = check(good.s.events)
  expect(violations.map((violation) => violation.rule)).toContain(rule)
  const others = violations.filter((violation) => violation.invariant !== invariant)
  expect(others.map(({ what }) => what)).toEqual([])
  for (const { events } of violations) {
    expect(events.every((event) => good.s.events.includes(event))).toBe(true)
  }
})

test('every rule has a history that it rejects', () => {
  const rules = [...rulesByInvariant].flatMap(([invariant, list]) =>
    list.map(({ name }) => `${invariant} ${name}`),
  )
  const told = new Set(badStories.map(({ invariant, rule }) => `${invariant} ${rule}`))
  expect([...told].sort()).toEqual(rules.sort())
})

test.each(lawfulStories)('passes: $title', ({ change }) => {
  const good = goodStory()
  change(good)
  expect(check(good.s.events)).toEqual([])
})

test('a job fails by a lost lease beyond the budget', () => {
  const { s } = goodStory()
  s.claim('x1', 'job-5')
  s.wait(2 * leaseTtlMs)
  rowOf(s.takeBack('job-5', 'lost'), 'jobs').state = 'failed'
  expect(check(s.events, { lostLeaseBudget: 0 })).toEqual([])
})

test('a history of nothing passes; commits without a clock line are an error', () => {
  expect(check([])).toEqual([])
  const s = new Story()
  s.promote('a')
  const commits = s.events.filter((event) => event.type === 'commit')
  expect(() => check(commits)).toThrow('needs a clock line')
})
