import { Act, advance, beatAndTell, cancel, change, enter, leave } from './ledger-steps.ts'
import { rowOf, type Story } from './stories.ts'

/** The part of the good story that is about effects, cancels and stages: each way through the ledger, once. */
export function goodLedger(s: Story) {
  return { ...once(s), ...doubts(s), ...repeated(s), ...cancelled(s), ...retried(s), ...staged(s) }
}

/** Done in a critical section, and committed; a later attempt is told so. */
function once(s: Story) {
  s.submit('plain')
  s.claim('x1', 'plain')
  const plain = new Act(s, 'plain')
  const entered = enter(s, 'x1', 'plain')
  const begun = plain.begin('x1')
  const acted = plain.do()
  const committed = plain.settle('x1', 'commit')
  const left = leave(s, 'x1', 'plain')
  s.report('x1', 'plain', 'released')
  s.claim('x1', 'plain')
  const replayed = plain.ask('x1', 'committed')
  s.report('x1', 'plain', 'succeeded')
  return { plain, entered, begun, acted, committed, left, replayed }
}

/** Two executors die between begin and commit: one had acted, which its successor finds out; of the other an operator
 *  says that it had not. */
function doubts(s: Story) {
  s.submit('found')
  s.claim('x1', 'found')
  const found = new Act(s, 'found', 'reconcile')
  found.begin('x1')
  const foundAct = found.do()
  const foundLost = found.lose()
  s.claim('x2', 'found')
  const foundAsked = found.ask('x2', 'in_doubt')
  const foundCommitted = found.settle('x2', 'commit')
  s.report('x2', 'found', 'succeeded')
  s.submit('held')
  s.claim('x1', 'held')
  const held = new Act(s, 'held')
  held.begin('x1')
  const heldLost = held.lose()
  s.claim('x2', 'held')
  const heldBack = held.hold('x2')
  const resolved = held.resolve('aborted')
  change(s, 'held', { state: 'available', waiting_for: null })
  s.claim('x2', 'held')
  const heldAgain = held.begin('x2')
  held.do()
  held.settle('x2', 'commit')
  s.report('x2', 'held', 'succeeded')
  const onFound = { found, foundAct, foundLost, foundAsked, foundCommitted }
  return { ...onFound, held, heldLost, heldBack, resolved, heldAgain }
}

/** Safe to repeat: done by both; and something else that was given up, and begun anew. */
function repeated(s: Story) {
  s.submit('mail')
  s.claim('x1', 'mail')
  const mail = new Act(s, 'mail', 'retry')
  mail.begin('x1')
  mail.do()
  const mailLost = mail.lose()
  s.claim('x2', 'mail')
  const mailAgain = mail.begin('x2')
  mail.do()
  mail.settle('x2', 'commit')
  const given = new Act(s, 'mail', 'hold', 'other')
  given.update({ effect_token: 'token of other' })
  given.begin('x2')
  const givenUp = given.settle('x2', 'abort')
  s.report('x2', 'mail', 'succeeded')
  return { mail, mailLost, mailAgain, given, givenUp }
}

/** In the middle of a section: what was begun is committed, and the cancel applies at its end. */
function cancelled(s: Story) {
  s.submit('stopped')
  s.claim('x1', 'stopped')
  const stopped = new Act(s, 'stopped')
  const inSection = enter(s, 'x1', 'stopped')
  stopped.begin('x1')
  const asked = cancel(s, 'stopped')
  s.wait(100)
  const deferred = s.beat('x1', ['stopped'])
  stopped.do()
  stopped.settle('x1', 'commit')
  const applied = leave(s, 'x1', 'stopped', 'enough')
  s.wait(100)
  const told = beatAndTell(s, 'x1', 'stopped')
  s.wait(100)
  const toldAgain = beatAndTell(s, 'x1', 'stopped')
  s.wait(100)
  const answered = s.report('x1', 'stopped', 'cancelled')
  return { stopped, inSection, asked, deferred, applied, told, toldAgain, answered }
}

/** It fails after its act; the job that retries it replays that. */
function retried(s: Story) {
  s.submit('broken', { key: 'v3' })
  s.claim('x1', 'broken')
  const broken = new Act(s, 'broken')
  broken.begin('x1')
  broken.do()
  broken.settle('x1', 'commit')
  s.report('x1', 'broken', 'failed')
  const retry = s.ask('/v1/jobs/broken/retry', {})
  const inserted = s.submit('mended', { key: 'v3' })
  s.events.splice(s.events.indexOf(inserted.asked), 1)
  s.events.splice(s.events.indexOf(inserted.answered), 1)
  rowOf(inserted.commit, 'jobs').retry_of = 'broken'
  const row = { id: 'broken', idempotency_key: null }
  inserted.commit.changes.unshift({ table: 'jobs', kind: 'update', row })
  broken.inherit(inserted.commit, 'mended')
  const progress = { job_id: 'mended', fence: '0' }
  inserted.commit.changes.push({ table: 'progress', kind: 'insert', row: progress })
  s.answer(retry, 201, { job: { id: 'mended' } })
  s.claim('x1', 'mended')
  const inherited = broken.ask('x1', 'committed')
  s.report('x1', 'mended', 'succeeded')
  return { broken, retry, inserted, inherited }
}

/** Two stages, each with a success and budgets of its own. */
function staged(s: Story) {
  rowOf(s.submit('staged').commit, 'jobs').stage = 'build'
  s.claim('x1', 'staged')
  const built = advance(s, 'x1', 'staged', 'deploy')
  s.claim('x2', 'staged')
  const shipped = s.report('x2', 'staged', 'succeeded')
  return { built, shipped }
}
