import { type Attempt, type Commit, endsLease, givesLease, moves, type Step } from './indexed.ts'
import type { Rule } from './violation.ts'

/** Invariant 11: two budgets, kept apart; each visit of a stage has its own. */

/** What is not the job's fault gives its number back (decision 005). */
const givenBack = new Set(['lost', 'undelivered', 'released'])

const lossesGiveTheirAttemptBack: Rule = function* lossesGiveTheirAttemptBack({ commits }) {
  for (const { step, attempt } of ends(commits)) {
    const { outcome } = attempt
    const spent = givenBack.has(outcome) ? attempt.attempt - 1 : attempt.attempt
    const due = moves(step) ? 0 : spent
    if (!step.after || step.after.attempt === due) continue
    const { jobId, commit } = step
    const what = `attempt ${attempt.attempt} of job ${jobId} was ${outcome}, and the job stands at ${step.after.attempt}, not ${due}`
    yield { what, jobId, at: commit.at, events: [commit.event] }
  }
}

const lossesAreCounted: Rule = function* lossesAreCounted({ commits }) {
  for (const { step, attempt } of ends(commits)) {
    const { jobId, before, after, commit } = step
    const counted = (before?.lostLeases ?? 0) + (attempt.outcome === 'lost' ? 1 : 0)
    const due = moves(step) ? 0 : counted
    if (!after || after.lostLeases === due) continue
    const what = `a lease of job ${jobId} was ${attempt.outcome}, and its lost leases went from ${before?.lostLeases} to ${after.lostLeases}`
    yield { what, jobId, at: commit.at, events: [commit.event] }
  }
}

const failuresHaveAReason: Rule = function* failuresHaveAReason({ commits }, { lostLeaseBudget }) {
  for (const { event, at, steps, attempts } of commits) {
    const byJob = new Map(attempts.map((attempt) => [attempt.jobId, attempt]))
    for (const { jobId, before, after } of steps) {
      if (after?.state !== 'failed' || before?.state === 'failed') continue
      const attempt = byJob.get(jobId)
      const isSpent = after.lostLeases > lostLeaseBudget
      if (attempt?.outcome === 'failed' || (attempt?.outcome === 'lost' && isSpent)) continue
      const what = `job ${jobId} failed, though its last attempt was ${attempt?.outcome ?? 'none'} and ${after.lostLeases} of ${lostLeaseBudget} leases were lost`
      yield { what, jobId, at, events: [event] }
    }
  }
}

const attemptsRiseByOne: Rule = function* attemptsRiseByOne({ commits }) {
  for (const { event, at, steps } of commits) {
    for (const step of steps) {
      const { jobId, before, after } = step
      if (!before || !after || endsLease(step)) continue
      const due = moves(step) ? 0 : before.attempt + (givesLease(step) ? 1 : 0)
      if (after.attempt === due && due <= after.maxAttempts) continue
      const what = `job ${jobId} stood at attempt ${before.attempt} and came to ${after.attempt} of ${after.maxAttempts}`
      yield { what, jobId, at, events: [event] }
    }
  }
}

export const budgets = [
  lossesGiveTheirAttemptBack,
  lossesAreCounted,
  failuresHaveAReason,
  attemptsRiseByOne,
]

/** Every end of a lease, with its attempt. */
function* ends(commits: Commit[]): Iterable<{ step: Step; attempt: Attempt }> {
  for (const { steps, attempts } of commits) {
    if (attempts.length === 0) continue
    const ended = new Map(steps.filter(endsLease).map((step) => [step.jobId, step]))
    for (const attempt of attempts) {
      const step = ended.get(attempt.jobId)
      if (step) yield { step, attempt }
    }
  }
}
