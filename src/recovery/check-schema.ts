import type pg from 'pg'
import { AppError } from '../errors.ts'
import { checkSchema, type Migration } from '../sql/migrate.ts'
import { release } from '../sql/pool.ts'
import type { Phase } from './recover.ts'

/** Phase 1. A build that the schema does not fit must not lead. */
export function checkSchemaPhase(pool: pg.Pool, migrations: Migration[]): Phase {
  return {
    name: 'check_schema',
    run: async () => {
      const client = await pool.connect()
      let inStep = false
      try {
        const schema = await checkSchema(client, migrations)
        inStep = true
        if (schema !== 'fits') throw new AppError(`schema_${schema}`, `the schema is ${schema}`)
        return { migrations: migrations.length }
      } finally {
        release(client, inStep)
      }
    },
  }
}
