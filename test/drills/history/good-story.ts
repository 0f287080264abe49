import { goodLedger } from './good-ledger.ts'
import { heartbeatMs, leaseTtlMs, Story } from './stories.ts'

/** A small drill in which everything goes as it should: a failover under a running job, a lost lease, a lost
 *  offer, a process that is replaced, answers that never come, effects and cancels. The steps by name, to be changed one at a time. */
export function goodStory() {
  const s = new Story()
  s.replica('a', { server: 'one' })
  s.replica('b', { server: 'two' })
  const first = s.promote('a')
  const keyed = s.submit('job-1', { key: 'once' })
  const replay = s.replay(keyed)
  const batch = s.submitBatch(['job-2', 'job-3'])
  const other = s.submit('job-4', { kind: 'other' })
  s.url = 'http://a'
  const registration = s.register('x1')
  s.register('x2')
  const claim1 = s.claim('x1', 'job-1')
  const beat1 = s.beat('x1', ['job-1'])
  const success1 = s.report('x1', 'job-1', 'succeeded')
  const repeated = s.askToReport('x1', 'job-1', 1, 'succeeded')
  const duplicate = s.answer(repeated, 200, { results: [{ job_id: 'job-1', status: 'duplicate' }] })
  const claim2 = s.claim('x1', 'job-2')
  const claim3 = s.claim('x2', 'job-3')
  const lastBeatOfX2 = s.beat('x2', ['job-3'])
  s.beat('x1', ['job-2'])
  const failover = failOver(s)
  const secondHalf = afterFailover(s)
  const unknown = unknownOutcomes(s)
  const ledger = goodLedger(s)
  s.drained()
  return {
    ...{ s, first, keyed, replay, batch, other, registration, claim1, beat1, success1, duplicate },
    ...{ claim2, claim3, lastBeatOfX2, ...failover, ...secondHalf, ...unknown, ...ledger },
  }
}

/** x1 goes on asking; x2 was killed. */
function failOver(s: Story) {
  s.fault('kill', 'a')
  s.wait(heartbeatMs)
  s.lose(s.askToBeat('x1', [{ job_id: 'job-2', fence: 1 }]), false)
  s.url = 'http://b'
  const refused = s.askToBeat('x1', [{ job_id: 'job-2', fence: 1 }])
  s.answer(refused, 503, { code: 'controller_standby' })
  const second = s.promote('b')
  const beat2 = s.beat('x1', ['job-2'])
  s.wait(heartbeatMs)
  return { second, beat2 }
}

function afterFailover(s: Story) {
  const success2 = s.report('x1', 'job-2', 'succeeded')
  s.wait(leaseTtlMs + 100)
  const lost3 = s.takeBack('job-3', 'lost')
  const late = s.askToReport('x2', 'job-3', 1, 'succeeded')
  const rejected = s.answer(late, 200, { results: [{ job_id: 'job-3', status: 'rejected' }] })
  const claim3again = s.claim('x1', 'job-3')
  const beat3 = s.beat('x1', ['job-3'])
  const success3 = s.report('x1', 'job-3', 'succeeded')
  // The answer with job-4 never arrives.
  const poll = s.ask('/v1/executors/x1/poll', { epoch: 1 })
  const offer4 = s.lease('x1', 'job-4')
  s.lose(poll)
  const undelivered4 = s.takeBack('job-4', 'undelivered')
  s.claim('x2', 'job-4')
  const replaced = s.register('x2')
  s.claim('x2', 'job-4')
  const beat4 = s.beat('x2', ['job-4'])
  const released4 = s.report('x2', 'job-4', 'released')
  s.claim('x2', 'job-4')
  const success4 = s.report('x2', 'job-4', 'succeeded')
  const told = { success2, lost3, late, rejected, claim3again, beat3, success3, offer4 }
  return { ...told, undelivered4, replaced, beat4, released4, success4 }
}

/** Submits of which nobody knows; one was carried out, one was not, one of a key was on its second try. */
function unknownOutcomes(s: Story) {
  s.actor = 'submitter'
  const notDone = s.ask('/v1/jobs', { kind: 'work' })
  s.lose(notDone)
  const done = s.submit('job-5', { kind: 'unseen' })
  s.events.splice(s.events.indexOf(done.answered), 1)
  const refused = s.ask('/v1/jobs', { kind: 'work', idempotency_key: 'twice' })
  s.answer(refused, 503, { code: 'overloaded' })
  const secondTry = s.submit('job-6', { key: 'twice' })
  const balancers = s.ask('/v1/jobs', { kind: 'work', idempotency_key: 'thrice' })
  s.answer(balancers, 503, undefined)
  Object.assign(s, { actor: 'fleet-2', url: 'http://balancer', servedBy: 'two' })
  const claim6 = s.claim('x1', 'job-6')
  const failure6 = s.report('x1', 'job-6', 'failed')
  Object.assign(s, { actor: 'fleet-1', url: 'http://b', servedBy: undefined })
  return { notDone, done, refused, secondTry, balancers, claim6, failure6 }
}

export type GoodStory = ReturnType<typeof goodStory>
