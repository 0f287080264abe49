import { z } from 'zod'

/** Building blocks of the wire. JSON is snake_case; instants end in `_at` (ISO 8601, UTC), durations in
 *  `_ms`; terms, fences and epochs are JSON numbers. */

/** Names that people choose: queues, kinds, executors. 1 to 128 characters that need no quoting in a
 *  URL's path, a shell or a log line. */
export const Name = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/,
    'must be 1 to 128 letters, digits, or . _ : @ -, and start with a letter or digit',
  )

export const Instant = z.iso.datetime({ offset: true })

/** An instant as a client may give it: what Postgres, JavaScript and this wire read alike. */
export const GivenInstant = Instant.refine(
  (text) => isWithin(text) && !/\.\d{10}|[+-](1[6-9]|2)\d?:/.test(text),
  'must lie in the years 1970 to 9998 (UTC), with an offset of at most 15:59 and at most 9 decimals',
)

/** Text that is no instant at all has been refused as such. */
function isWithin(text: string): boolean {
  const at = Date.parse(text)
  return !(at < Date.UTC(1970) || at >= Date.UTC(9999))
}

export const Count = z.number().int().min(0)
export const PositiveCount = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER)

/** Longest delay or timeout that can be asked for: 366 days. */
export const maxDurationMs = 366 * 24 * 3_600_000
export const Duration = z.number().int().min(0).max(maxDurationMs)
/** Longest that a timer of an executor can run: about 24.8 days. */
export const maxTimerMs = 2 ** 31 - 1

/** Opaque data: kept and handed on as it came, never looked into. */
export const Json = z.unknown().meta({ description: 'Any JSON value.' })

/** Any bounded text that Postgres can hold. */
export const Text = (max: number) =>
  z
    .string()
    .max(max)
    .refine(
      (value) => value.isWellFormed() && !value.includes('\0'),
      'must be well-formed Unicode without U+0000',
    )

/** Labels: at most 32, values up to 256 characters. */
export const Labels = z
  .record(
    z
      .string()
      .regex(
        /^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/,
        'label names are 1 to 63 letters, digits, . _ / -',
      ),
    Text(256),
  )
  .refine((labels) => Object.keys(labels).length <= 32, 'at most 32 labels')

/** Size limits, in bytes of JSON as UTF-8. DESIGN 6 and 7. */
export const limits = {
  payloadBytes: 256 * 1024,
  resultBytes: 256 * 1024,
  progressBytes: 64 * 1024,
  submitBodyBytes: 512 * 1024,
  bodyBytes: 8 * 1024 * 1024,
  batchJobs: 1_000,
  assignments: 500,
  reports: 500,
  inventory: 5_000,
  effects: 1_000,
  lockMetadataBytes: 4 * 1024,
  stages: 32,
  /** Of all jobs of a batch: their kinds may be as many new classes. */
  batchStages: 5_000,
} as const

export const PageQuery = {
  cursor: z.string().max(64).optional().meta({ description: '`next_cursor` of the page before.' }),
  limit: z.coerce.number().int().min(1).max(500).default(50),
}

/** Every error, RFC 9457. Switch on `code`; `title` and `detail` are for people. */
export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    code: z.string().meta({ description: 'Stable; see docs/errors.md.' }),
    detail: z.string(),
    retryable: z.boolean().meta({ description: 'Whether the same request may succeed later.' }),
    request_id: z.string().meta({ description: 'Stands in the replica’s log, too.' }),
    errors: z
      .array(z.object({ path: z.string(), message: z.string() }))
      .optional()
      .meta({ description: 'The faulty fields of a request.' }),
    facts: z
      .record(z.string(), z.unknown())
      .optional()
      .meta({ description: 'On some 409: how it is instead.' }),
    role: z.string().optional().meta({ description: 'On 503: controller state of this replica.' }),
    term: Count.optional().meta({ description: 'On 503: the latest term that it knows of.' }),
    active_url: z
      .string()
      .optional()
      .meta({ description: 'On 503: where the active replica said it can be reached.' }),
    retry_after_ms: Count.optional().meta({ description: 'On 429 and 503: when to try again.' }),
  })
  .meta({ id: 'Problem' })
export type Problem = z.infer<typeof Problem>
