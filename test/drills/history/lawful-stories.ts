import { giveUnheard, holdUnheard, type LawfulStory, remove } from './bad-story.ts'
import type { GoodStory } from './good-story.ts'
import { lawfulLedger } from './lawful-ledger.ts'
import { lawfulVerdicts } from './lawful-verdicts.ts'
import { cancel } from './ledger-steps.ts'
import { leaseTtlMs, rowOf } from './stories.ts'

/** What looks like a fault and is none. */
export const lawfulStories: LawfulStory[] = [
  {
    title: 'a submit whose answer is lost makes no job',
    change: ({ s }) => s.lose(s.ask('/v1/jobs', { kind: 'another' })),
  },
  {
    title: 'a submit of which there is no further line makes a job',
    change: ({ s }) => remove(s.events, s.submit('job-9', { kind: 'another' }).answered),
  },
  ...[500, 502, 503].map((status) => ({
    title: `a submit that a balancer answers ${status} makes a job`,
    change: ({ s }: GoodStory) => {
      const { asked, answered } = s.submit('job-9', { kind: 'another' })
      remove(s.events, answered)
      s.answer(asked, status, undefined)
    },
  })),
  {
    title: 'a submit that failed inside makes a job',
    change: ({ s }) => {
      const { asked, answered } = s.submit('job-9', { kind: 'another' })
      remove(s.events, answered)
      s.answer(asked, 500, { code: 'internal' })
    },
  },
  {
    title: 'an executor is served through the balancer',
    change: ({ s }) => {
      s.url = 'http://balancer'
      s.register('x3')
    },
  },
  {
    title:
      'an executor is served by the active, as the balancer says, and by the next at its place',
    change: ({ s }) => {
      s.url = 'http://balancer'
      s.servedBy = 'two'
      s.register('x3')
      s.replica('b2', { url: 'http://b', server: 'two' })
      s.wait(1_000)
      s.promote('b2')
      s.register('x4')
    },
  },
  {
    title: 'the balancer names a server, and the history does not say who that is',
    change: ({ s }) => {
      for (const event of s.events) if (event.type === 'replica') delete event.server
      s.url = 'http://balancer'
      s.servedBy = 'one'
      s.register('x3')
    },
  },
  {
    title: 'a replica that was called by its URL answers, whatever stands in between',
    change: ({ s }) => {
      s.servedBy = 'three'
      s.register('x3')
    },
  },
  {
    title: 'a submit that could not reach the database makes a job',
    change: ({ s }) => {
      const { asked, answered } = s.submit('job-9', { kind: 'another' })
      remove(s.events, answered)
      s.answer(asked, 503, { code: 'database_unavailable' })
    },
  },
  {
    title: 'a cancelled job frees its key',
    change: ({ s }) => {
      const first = s.submit('job-9', { key: 'again' })
      s.ask('/v1/jobs/JOB-9/cancel', {})
      const row = { ...rowOf(first.commit, 'jobs'), state: 'cancelled' }
      delete s.write([{ table: 'jobs', kind: 'update', row }]).writer
      remove(s.events, s.submit('job-10', { key: 'again' }).answered)
    },
  },
  {
    title: 'jobs are cancelled by a filter',
    change: ({ s }) => {
      s.lose(s.ask('/v1/jobs/bulk', { action: 'cancel', filter: {}, dry_run: false }))
      s.write([{ table: 'jobs', kind: 'update', row: { id: 'job-5', state: 'cancelled' } }])
    },
  },
  {
    title: 'an executor reports that it cancelled its job, and hears no answer',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      remove(s.events, s.report('x1', 'job-5', 'cancelled').answered)
    },
  },
  {
    title: 'a job that is to be cancelled loses its lease',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      cancel(s, 'job-5')
      s.wait(2 * leaseTtlMs)
      rowOf(s.takeBack('job-5', 'lost'), 'jobs').state = 'cancelled'
    },
  },
  {
    title: 'a report counts that a balancer sent twice, and had refused at last',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      const { asked, answered } = s.report('x1', 'job-5', 'failed')
      remove(s.events, answered)
      Object.assign(s, { servedBy: 'one' })
      s.answer(asked, 503, { code: 'controller_standby' })
    },
  },
  {
    title: 'one of two jobs that a report names is committed before the report is refused',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      const { asked, answered } = s.report('x1', 'job-5', 'failed')
      remove(s.events, answered)
      const { reports } = asked.body as { reports: unknown[] }
      reports.push({ job_id: 'job-2', fence: 1, outcome: 'failed' })
      s.answer(asked, 503, { code: 'controller_standby' })
    },
  },
  {
    title: 'a client changes a job that is leased, but not its lease',
    change: ({ s, beat3 }) => {
      const row = { ...rowOf(beat3.commit, 'jobs') }
      const { lease_expires_at: _, ...less } = row
      const commit = s.write([row, less].map((row) => ({ table: 'jobs', kind: 'update', row })))
      delete commit.writer
      Object.assign(commit, {
        order: beat3.commit.order + 0.5,
        committedAt: beat3.commit.committedAt,
      })
    },
  },
  {
    title: 'the leader keeps progress and late reports',
    change: ({ s }) => {
      s.write([
        { table: 'progress', kind: 'insert', row: { job_id: 'job-5', fence: '1' } },
        { table: 'late_reports', kind: 'insert', row: { job_id: 'job-3', executor_id: 'x2' } },
      ])
    },
  },
  {
    title: 'an outcome is committed a moment before its report was sent, by the other clock',
    change: ({ released4, success4 }) => {
      for (const { asked, commit } of [released4, success4]) {
        asked.at += 6
        commit.committedAt -= 1
      }
    },
  },
  {
    title: 'without the end of the drain nobody asks what became of acknowledged jobs',
    change: ({ s }) => {
      remove(s.events, ...s.events.filter((event) => event.type === 'drained'))
      s.submit('job-9')
    },
  },
  {
    title: 'an executor that paused for longer than three heartbeats loses its lease',
    change: ({ s }) => {
      holdUnheard(s, 4)
      s.wait(4 * 500)
      s.takeBack('job-5', 'lost')
    },
  },
  {
    title: 'an executor that was cut off on purpose loses its lease',
    change: ({ s }) => {
      s.fault('cut', 'fleet-1')
      holdUnheard(s, 8)
      s.fault('cut', 'fleet-1', 'end')
      s.takeBack('job-5', 'lost')
    },
  },
  {
    title: 'a lease is lost before the answer that gives it arrives',
    change: ({ s }) => {
      const { hear } = giveUnheard(s)
      s.wait(leaseTtlMs)
      s.takeBack('job-5', 'lost')
      hear()
    },
  },
  {
    title: 'an executor hears of its job when the lease is about to end, and loses it at once',
    change: ({ s }) => {
      const { hear } = giveUnheard(s)
      s.wait(leaseTtlMs)
      hear()
      s.takeBack('job-5', 'lost')
    },
  },
  {
    title: 'an executor that registers anew loses its lease at once',
    change: ({ s }) => {
      s.claim('x1', 'job-5')
      s.beat('x1', ['job-5'])
      s.register('x1')
    },
  },
  {
    title: 'an executor that was not heard for long keeps its lease',
    change: ({ s }) => {
      holdUnheard(s, 20)
      s.beat('x1', ['job-5'])
    },
  },
  {
    title: 'a lease is revoked that was lost, or never given',
    change: ({ s }) => {
      const listed = [
        { job_id: 'job-3', fence: 1 },
        { job_id: 'job-5', fence: 9 },
      ]
      s.answer(s.askToBeat('x2', listed), 200, { term: 2, held: [], revoked: listed })
    },
  },
  ...lawfulLedger,
  ...lawfulVerdicts,
  {
    title: 'a replica restarts at its URL under a new id, and leads',
    change: ({ s }) => {
      s.wait(1_000)
      s.replica('a2', { url: 'http://a' })
      s.wait(1_000)
      s.promote('a2')
      s.url = 'http://a'
      s.register('x3')
    },
  },
]
