import type { Queryable } from './pool.ts'

/** A class: queue, kind and requirements, interned. */
export interface JobClass {
  class_id: number
  queue: string
  kind: string
  requires: Record<string, string>
}

export async function listClasses(db: Queryable): Promise<JobClass[]> {
  const { rows } = await db.query<JobClass>({
    name: 'list_classes',
    text: 'SELECT class_id, queue, kind, requires FROM classes',
  })
  return rows
}

/** Two statements: a conflict gives no row, and only a later snapshot is sure to see the winner. */
export async function internClasses(
  tx: Queryable,
  classes: Omit<JobClass, 'class_id'>[],
): Promise<JobClass[]> {
  const wanted = [
    classes.map(({ queue }) => queue),
    classes.map(({ kind }) => kind),
    classes.map(({ requires }) => JSON.stringify(requires)),
  ]
  const rows = 'unnest($1::text[], $2::text[], $3::jsonb[]) AS w(queue, kind, requires)'
  await tx.query({
    text: `INSERT INTO classes (queue, kind, requires)
      SELECT DISTINCT queue, kind, requires FROM ${rows} ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING`,
    values: wanted,
  })
  const { rows: interned } = await tx.query<JobClass>({
    text: `SELECT c.class_id, c.queue, c.kind, c.requires
      FROM classes c JOIN ${rows} USING (queue, kind, requires)`,
    values: wanted,
  })
  return interned
}
