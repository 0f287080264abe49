import { z } from 'zod'
import { Instant, Text } from './common.ts'
import { LeaseOwner } from './effects.ts'

/** Cancels, and the sections in which they wait (DESIGN 6). */

/** Asks for a job's end. */
export const CancelRequest = z
  .strictObject({
    reason: Text(1_024)
      .optional()
      .meta({ description: 'Shown with the job, and told its executor.' }),
  })
  .meta({ id: 'CancelRequest' })
export type CancelRequest = z.infer<typeof CancelRequest>

/** Longest that a critical section may put a cancel off: one hour. */
export const maxCeilingMs = 3_600_000

/** Begins or ends the stretch in which the holder of a job must not be interrupted. */
export const Critical = z
  .strictObject({
    ...LeaseOwner,
    enter: z.boolean().meta({ description: 'true: it begins. false: it has ended.' }),
    ceiling_ms: z.number().int().min(1).max(maxCeilingMs).optional().meta({
      description:
        'With enter: longest that it puts a cancel off, from its beginning; milliseconds; default 300000.',
    }),
  })
  .refine(({ enter, ceiling_ms }) => enter || ceiling_ms === undefined, {
    path: ['ceiling_ms'],
    message: 'belongs to the beginning of a section: enter true',
  })
  .meta({ id: 'Critical' })
export type Critical = z.infer<typeof Critical>

export const CriticalAnswer = z
  .object({
    critical_until: Instant.nullable().meta({
      description: 'When a cancel no longer waits; null: the lease is in no section.',
    }),
    cancel: z
      .object({ reason: z.string() })
      .nullable()
      .meta({ description: 'At its end: a cancel that has waited. Stop, and report cancelled.' }),
  })
  .meta({ id: 'CriticalAnswer' })
export type CriticalAnswer = z.infer<typeof CriticalAnswer>
