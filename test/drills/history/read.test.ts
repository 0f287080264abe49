import { appendFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tempFolder } from '../../support/temp.ts'
import { check } from './check.ts'
import { explain } from './explain.ts'
import { goodStory } from './good-story.ts'
import { readHistory } from './read.ts'

/** A folder with a good history in three files. */
async function folderWithHistory() {
  const folder = tempFolder('history')
  const { s } = goodStory()
  const lines = (isOurs: (type: string) => boolean) =>
    s.events.filter(({ type }) => isOurs(type)).map((event) => `${JSON.stringify(event)}\n`)
  const isActors = (type: string) => type === 'invoke' || type === 'answer' || type === 'lost'
  await writeFile(join(folder, 'commits.jsonl'), lines((type) => type === 'commit').join(''))
  await writeFile(join(folder, 'actors.jsonl'), lines(isActors).toReversed().join(''))
  const isStages = (type: string) => type !== 'commit' && !isActors(type)
  await writeFile(join(folder, 'stage.jsonl'), lines(isStages).join(''))
  await writeFile(join(folder, 'stage.log'), 'no history')
  return { folder, events: s.events }
}

test('a history is read from all its files, by time and by the order of commits', async () => {
  const { folder, events } = await folderWithHistory()
  const read = await readHistory(folder)
  expect(read).toHaveLength(events.length)
  expect(read).toEqual(expect.arrayContaining(events))
  const timed = read.flatMap((event) => (event.type === 'commit' ? [] : event.at))
  expect(timed).toEqual(timed.toSorted((a, b) => a - b))
  expect(check(read)).toEqual([])
})

test('a last line that was cut short is left out; a whole one needs no end', async () => {
  const { folder, events } = await folderWithHistory()
  await appendFile(join(folder, 'stage.jsonl'), '{"type":"drained","at":9')
  await appendFile(join(folder, 'actors.jsonl'), '{"type":"drained","at":99}')
  const read = await readHistory(folder)
  expect(read).toHaveLength(events.length + 1)
})

test.each([
  ['a line in the middle that was cut short', '{"type":"drai\n{"type":"drained","at":9}\n'],
  ['a last line that has its end and makes no sense', '{"type":"drai\n'],
  ['an empty line', '\n{"type":"drained","at":9}\n'],
  ['a line of an unknown type', '{"type":"applause","at":9}\n'],
  ['a line without its time', '{"type":"drained"}\n'],
])('%s is an error that names its place', async (_, text) => {
  const { folder } = await folderWithHistory()
  await writeFile(join(folder, 'more.jsonl'), `{"type":"drained","at":9}\n${text}`)
  await expect(readHistory(folder)).rejects.toThrow('more.jsonl:2 ')
})

test('a violation is explained by what happened to its job, and the faults around it', () => {
  const { s, success2 } = goodStory()
  success2.commit.writer = { term: 1, replicaId: 'a-id' }
  const [violation] = check(s.events)
  expect(violation && explain(violation, s.events)).toMatchInlineSnapshot(`
    "invariant 1, writersAreInForce: commit 18 was written by term 1 of a-id, under term 2 of b-id
       -1243.0 ms  replica a began at http://a (server one) as a-id
       -1243.0 ms  replica b began at http://b (server two) as b-id
       -1222.0 ms  commit 1 by no term: insert leader term=1 replica_id=a-id; insert terms term=1 replica_id=a-id recovery=[]
       -1081.0 ms  fault start: kill on a
        -546.0 ms  commit 15 by no term: update leader term=2 replica_id=b-id; insert terms term=2 replica_id=b-id recovery=[]
           0.0 ms  commit 18 by term 1 of a-id: update jobs id=job-2 queue=default kind=work state=succeeded fence=1 attempt=1 max_attempts=5 lost_leases=0; insert attempts job_id=job-2 fence=1 attempt=1 executor_id=x1 epoch=1 outcome=succeeded"
  `)
})

test('a lost lease is explained from its claim on, without the story of other jobs', () => {
  const { s, lost3 } = goodStory()
  const jobs = lost3.changes.find(({ table }) => table === 'jobs')
  Object.assign(jobs?.row ?? {}, { lost_leases: '0' })
  const [violation] = check(s.events)
  expect(violation && explain(violation, s.events)).toMatchInlineSnapshot(`
    "invariant 11, lossesAreCounted: a lease of job job-3 was lost, and its lost leases went from 0 to 0
       -4345.0 ms  replica a began at http://a (server one) as a-id
       -4345.0 ms  replica b began at http://b (server two) as b-id
       -4324.0 ms  commit 1 by no term: insert leader term=1 replica_id=a-id
       -4273.0 ms  op-3 fleet-1 asks http://balancer: POST /v1/jobs/batch {"jobs":[{"kind":"work"},{"kind":"work"}]}
       -4271.0 ms  commit 4 by no term: insert jobs id=job-3 queue=default kind=work state=available fence=0 attempt=0 max_attempts=5 lost_leases=0
       -4270.0 ms  op-3 answered 200 {"results":[{"id":"job-2","created":true},{"id":"job-3","created":true}]}
       -4202.0 ms  op-12 fleet-1 asks http://a: POST /v1/executors/x2/poll {"epoch":1,"max":1}
       -4200.0 ms  commit 12 by term 1 of a-id: update jobs id=job-3 queue=default kind=work state=leased fence=1 attempt=1 max_attempts=5 lost_leases=0 executor_id=x2 epoch=1 lease_expires_at=2024-01-01 00:00:03.144+00
       -4199.0 ms  op-12 answered 200 {"assignments":[{"job_id":"job-3","fence":1}]}
       -4194.0 ms  op-13 fleet-1 asks http://a: POST /v1/executors/x2/heartbeat {"epoch":1,"assignments":[{"job_id":"job-3","fence":1}]}
       -4192.0 ms  commit 13 by term 1 of a-id: update jobs id=job-3 queue=default kind=work state=leased fence=1 attempt=1 max_attempts=5 lost_leases=0 executor_id=x2 epoch=1 lease_expires_at=2024-01-01 00:00:03.152+00
       -4191.0 ms  op-13 answered 200 {"term":1,"held":[{"job_id":"job-3","fence":1}],"revoked":[]}
       -4183.0 ms  fault start: kill on a
       -3648.0 ms  commit 15 by no term: update leader term=2 replica_id=b-id
           0.0 ms  commit 19 by term 2 of b-id: update jobs id=job-3 queue=default kind=work state=available fence=2 attempt=0 max_attempts=5 lost_leases=0; insert attempts job_id=job-3 fence=1 attempt=1 executor_id=x2 epoch=1 outcome=lost
           5.0 ms  op-19 fleet-1 asks http://b: POST /v1/executors/x2/report {"epoch":1,"reports":[{"job_id":"job-3","fence":1,"outcome":"succeeded"}]}
           7.0 ms  op-19 answered 200 {"results":[{"job_id":"job-3","status":"rejected"}]}
          12.0 ms  op-20 fleet-1 asks http://b: POST /v1/executors/x1/poll {"epoch":1,"max":1}
          14.0 ms  commit 20 by term 2 of b-id: update jobs id=job-3 queue=default kind=work state=leased fence=3 attempt=1 max_attempts=5 lost_leases=1 executor_id=x1 epoch=1 lease_expires_at=2024-01-01 00:00:07.358+00
          15.0 ms  op-20 answered 200 {"assignments":[{"job_id":"job-3","fence":3}]}
          20.0 ms  op-21 fleet-1 asks http://b: POST /v1/executors/x1/heartbeat {"epoch":1,"assignments":[{"job_id":"job-3","fence":3}]}
          22.0 ms  commit 21 by term 2 of b-id: update jobs id=job-3 queue=default kind=work state=leased fence=3 attempt=1 max_attempts=5 lost_leases=1 executor_id=x1 epoch=1 lease_expires_at=2024-01-01 00:00:07.366+00
          23.0 ms  op-21 answered 200 {"term":2,"held":[{"job_id":"job-3","fence":3}],"revoked":[]}
          28.0 ms  op-22 fleet-1 asks http://b: POST /v1/executors/x1/report {"epoch":1,"reports":[{"job_id":"job-3","fence":3,"outcome":"succeeded"}]}
          30.0 ms  commit 22 by term 2 of b-id: update jobs id=job-3 queue=default kind=work state=succeeded fence=3 attempt=1 max_attempts=5 lost_leases=1; insert attempts job_id=job-3 fence=3 attempt=1 executor_id=x1 epoch=1 outcome=succeeded
          31.0 ms  op-22 answered 200 {"results":[{"job_id":"job-3","status":"accepted","job_state":"succeeded"}]}"
  `)
})
