import { z } from 'zod'
import { Duration, Text } from './common.ts'

/** How to retry a final job. All of it may be left out. */
export const JobRetry = z
  .strictObject({
    delay_ms: Duration.optional().meta({ description: 'Not before so long from now.' }),
    reason: Text(1_000).optional().meta({ description: 'Kept in the audit.' }),
  })
  .meta({ id: 'JobRetry' })
export type JobRetry = z.infer<typeof JobRetry>
