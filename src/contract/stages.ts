import { z } from 'zod'
import { Instant, Json, Labels, limits, Name } from './common.ts'

/** The stages of a job (DESIGN 6). */

/** Labels that an executor must have: at most 32, and 1 KiB of JSON. */
export const Requires = Labels.refine(
  (labels) => new TextEncoder().encode(JSON.stringify(labels)).length <= 1_024,
  'at most 1 KiB of JSON as UTF-8',
)

const endings = ['succeeded', 'failed', 'cancelled']
const notForManual = 'a manual stage has no executor work'

/** One step of a job: work for an executor, or a decision that somebody makes. */
export const StageSubmit = z
  .strictObject({
    name: Name.refine((name) => !endings.includes(name), `is none of ${endings.join(', ')}`),
    kind: Name.optional().meta({ description: 'Default: that of the job.' }),
    requires: Requires.optional().meta({ description: 'Default: those of the job.' }),
    manual: z.boolean().default(false).meta({
      description: 'No executor works on it: the job waits for a transition.',
    }),
  })
  .superRefine(({ manual, ...given }, context) => {
    for (const field of ['kind', 'requires'] as const) {
      if (manual && given[field] !== undefined) {
        context.addIssue({ code: 'custom', path: [field], message: notForManual })
      }
    }
  })
  .meta({ id: 'StageSubmit' })
export type StageSubmit = z.infer<typeof StageSubmit>

/** 1 to 32 of them, in order, each with a name of its own. */
export const StagesSubmit = z
  .array(StageSubmit)
  .min(1)
  .max(limits.stages)
  .superRefine((stages, context) => {
    const names = new Set<string>()
    for (const [index, { name }] of stages.entries()) {
      if (names.has(name)) {
        const message = 'is the name of an earlier stage'
        context.addIssue({ code: 'custom', path: [index, 'name'], message })
      }
      names.add(name)
    }
  })

/** A stage of a job, and what came of it. */
export const Stage = z
  .object({
    name: z.string(),
    kind: z.string().nullable().meta({ description: 'null: it is manual.' }),
    requires: z.record(z.string(), z.string()).nullable(),
    manual: z.boolean(),
    state: z
      .enum(['pending', 'current', 'succeeded', 'skipped', 'failed', 'cancelled'])
      .meta({ description: 'succeeded: or approved. skipped: left behind without success.' }),
    result: Json.meta({ description: 'Of the attempt that succeeded; else null.' }),
    done_at: Instant.nullable(),
  })
  .meta({ id: 'Stage' })
export type Stage = z.infer<typeof Stage>

/** Who owns the next move of a job. Its token is shown to nobody else. */
export const LiveTransition = z
  .object({ owner: z.string(), boot_id: z.string(), begun_at: Instant, expires_at: Instant })
  .meta({ id: 'LiveTransition' })
