import { z } from 'zod'
import { Count, Name, Text } from './common.ts'
import { JobId, JobState, LabelPairs } from './jobs.ts'

/** What can be done to many jobs at once. */
export const BulkAction = z.enum(['retry', 'cancel']).meta({ id: 'BulkAction' })
export type BulkAction = z.infer<typeof BulkAction>

/** Which jobs: those that fit all that is given. */
export const BulkFilter = z
  .strictObject({
    queue: Name.optional(),
    state: JobState.optional().meta({
      description:
        'For retry: failed (the default) or cancelled. For cancel: available, leased or waiting; default: any of them.',
    }),
    kind: Name.optional(),
    label: LabelPairs.optional().meta({ description: '`name=value`, or several of them.' }),
  })
  .meta({ id: 'BulkFilter' })
export type BulkFilter = z.infer<typeof BulkFilter>

/** Does something to the jobs that fit a filter: at most 500 in a call, newest first, all or nothing. */
export const BulkRequest = z
  .strictObject({
    action: BulkAction,
    filter: BulkFilter,
    dry_run: z.boolean().default(false).meta({ description: 'Count, and change nothing.' }),
    confirm: z.boolean().default(false).meta({
      description: 'Must be true where the filter is empty, and so matches everything.',
    }),
    cursor: JobId.optional().meta({ description: '`next_cursor` of the call before.' }),
    reason: Text(1_000)
      .optional()
      .meta({ description: 'Kept in the audit, and with a job that is cancelled.' }),
  })
  .meta({ id: 'BulkRequest' })
export type BulkRequest = z.infer<typeof BulkRequest>
/** What a client may leave out. */
export type BulkRequestInput = z.input<typeof BulkRequest>

export const BulkCounted = z.object({
  dry_run: z.literal(true),
  matched: Count.meta({ description: 'Jobs that it would be done to, over all calls.' }),
})

export const BulkDone = z.object({
  dry_run: z.literal(false),
  matched: Count.meta({ description: 'When this call began, from its cursor on.' }),
  changed: Count.meta({ description: 'Jobs that it was done to, by this call.' }),
  skipped: Count.meta({ description: 'Jobs that somebody else had changed meanwhile.' }),
  remaining: Count.meta({ description: 'Left to the calls that follow.' }),
  next_cursor: JobId.nullable().meta({ description: 'null: this was the last call.' }),
})
export type BulkDone = z.infer<typeof BulkDone>

export const BulkAnswer = z
  .discriminatedUnion('dry_run', [BulkCounted, BulkDone])
  .meta({ id: 'BulkAnswer' })
export type BulkAnswer = z.infer<typeof BulkAnswer>
