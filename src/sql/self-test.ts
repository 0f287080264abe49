import pg from 'pg'
import { destroySocket, type Queryable } from './pool.ts'
import { listLiveReplicas } from './replicas.ts'
import { connectionOptions } from './session.ts'

/**
 * The path to the database, tried before a replica takes any part: what is wrong with it is refused by name,
 * since everything that leadership rests on is a property of real sessions on one primary.
 */
export const refusals = {
  // The process ends: nothing but another configuration, another server or a grant cures these.
  transaction_pooler: { isFinal: true },
  different_databases: { isFinal: true },
  postgres_too_old: { isFinal: true },
  missing_rights: { isFinal: true },
  // These may pass: Postgres is failing over, or an older process is on its way out.
  in_recovery: { isFinal: false },
  read_only: { isFinal: false },
  name_taken: { isFinal: false },
  other_lock_id: { isFinal: false },
} as const

export interface Refusal {
  reason: keyof typeof refusals
  detail: string
}

export interface PathUrls {
  databaseUrl: string
  leaderDatabaseUrl: string
}

/** 15: what is older is not tested, and lacks what our sessions are held together with. */
const oldest = 15

interface Face {
  version: number
  database: string
  role: string
  /** Whether it may end sessions of the role of DATABASE_URL, as a promotion must. */
  may_end: boolean
  may_use_schema: boolean
  may_see_schema: boolean
  in_recovery: boolean
  read_only: boolean
}

/** Refusals of the path itself, whatever the schema. Throws if the database cannot be reached. */
export async function testPath(
  { databaseUrl, leaderDatabaseUrl }: PathUrls,
  name: string,
  signal: AbortSignal,
): Promise<Refusal[]> {
  const urls = { DATABASE_URL: databaseUrl, UNDERSTUDY_LEADER_DATABASE_URL: leaderDatabaseUrl }
  const found: Refusal[] = []
  const faces: Face[] = []
  for (const [variable, url] of Object.entries(urls)) {
    if (faces.length > 0 && url === databaseUrl) continue
    const { face, isPooled } = await lookThrough(url, name, faces[0]?.role, signal)
    faces.push(face)
    found.push(...judge(variable, face, isPooled))
  }
  const [database, leader] = faces
  if (database && leader) found.push(...compare(database, leader))
  return found
}

function judge(variable: string, face: Face, isPooled: boolean): Refusal[] {
  const major = Math.floor(face.version / 10_000)
  const found: [boolean, Refusal['reason'], string][] = [
    [isPooled, 'transaction_pooler', 'leads through a transaction pooler; go straight to Postgres'],
    [
      major < oldest,
      'postgres_too_old',
      `leads to Postgres ${major}; ${oldest} or newer is needed`,
    ],
    [
      !face.may_use_schema,
      'missing_rights',
      'leads to a role that lacks USAGE on every schema of its search_path',
    ],
    [!face.may_see_schema, 'missing_rights', 'leads to a role that lacks SELECT on migrations'],
    [face.in_recovery, 'in_recovery', 'leads to a Postgres in recovery, not to the primary'],
    [
      face.read_only && !face.in_recovery,
      'read_only',
      'leads to a database that takes no writes (default_transaction_read_only)',
    ],
  ]
  return found
    .filter(([isSo]) => isSo)
    .map(([, reason, detail]) => ({ reason, detail: `${variable} ${detail}` }))
}

function compare(database: Face, leader: Face): Refusal[] {
  if (database.database !== leader.database) {
    const detail = 'DATABASE_URL and UNDERSTUDY_LEADER_DATABASE_URL lead to different databases'
    return [{ reason: 'different_databases', detail }]
  }
  if (leader.may_end) return []
  const detail = `role ${leader.role} may not end sessions of ${database.role}: GRANT ${database.role} TO ${leader.role}`
  return [{ reason: 'missing_rights', detail }]
}

/** What a replica does with each relation. Whoever migrates owns them; a replica needs no more than this. */
const rights = {
  migrations: ['SELECT'],
  leader: ['SELECT', 'UPDATE'],
  replicas: ['SELECT', 'INSERT', 'UPDATE'],
  terms: ['SELECT', 'INSERT', 'UPDATE'],
  tokens: ['SELECT', 'INSERT', 'UPDATE'],
  audit: ['SELECT', 'INSERT'],
  executors: ['SELECT', 'INSERT', 'UPDATE'],
  executor_events: ['SELECT', 'INSERT', 'DELETE'],
  classes: ['SELECT', 'INSERT'],
  jobs: ['SELECT', 'INSERT', 'UPDATE'],
  attempts: ['SELECT', 'INSERT'],
  progress: ['SELECT', 'INSERT', 'UPDATE'],
  late_reports: ['SELECT', 'INSERT'],
  effects: ['SELECT', 'INSERT', 'UPDATE'],
  late_effects: ['SELECT', 'INSERT'],
  locks: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  lock_floor: ['SELECT', 'UPDATE'],
  stages: ['SELECT', 'INSERT', 'UPDATE'],
  moves: ['SELECT', 'INSERT'],
  transitions: ['SELECT', 'INSERT', 'UPDATE'],
}

const functions = [
  'wait_for_active_lock',
  'fence_term',
  'promote',
  'tick',
  'is_job_over',
  'is_displaced',
]

const wanted = Object.entries(rights).flatMap(([relation, each]) =>
  each.map((right) => ({ relation, right })),
)

/** Refusals of a schema that fits: rights that the role of this session lacks, and replicas that this one
 *  cannot stand beside. Takes the name for as long as the session lives, so that of two replicas that start
 *  with one name at the same moment, one gets it. */
export async function testStanding(
  client: pg.ClientBase,
  db: Queryable,
  replica: { name: string; replicaId: string; activeLockId: string },
): Promise<Refusal[]> {
  for (const path of [client, db]) {
    const lacking = await listLackingRights(path)
    if (lacking.length > 0) {
      return [{ reason: 'missing_rights', detail: `the role lacks ${lacking.join(', ')}` }]
    }
  }
  const found: Refusal[] = []
  if ((await isNameLeading(client, replica)) || !(await takeName(client, replica.name))) {
    found.push({ reason: 'name_taken', detail: `another replica named ${replica.name} is alive` })
  }
  const others = (await listLiveReplicas(client)).filter(
    ({ active_lock_id }) => active_lock_id !== replica.activeLockId,
  )
  const [other] = others
  if (other) {
    const { name, active_lock_id } = other
    const detail = `${name} is alive with active_lock_id ${active_lock_id}; this one has ${replica.activeLockId}`
    found.push({ reason: 'other_lock_id', detail })
  }
  return found
}

async function listLackingRights(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ lacking: string }>({
    text: `SELECT x.right || ' on ' || x.relation AS lacking
      FROM unnest($1::text[], $2::text[]) AS x(relation, "right")
      WHERE NOT has_table_privilege(x.relation, x.right)
      UNION ALL SELECT 'EXECUTE on ' || f FROM unnest($3::text[]) AS f
      WHERE NOT has_function_privilege(to_regproc(f), 'EXECUTE')`,
    values: [wanted.map(({ relation }) => relation), wanted.map(({ right }) => right), functions],
  })
  return rows.map((row) => row.lacking)
}

/** A leader whose watch session broke has lost its name for a moment, and must find it free again. */
async function isNameLeading(
  client: pg.ClientBase,
  { name, replicaId }: { name: string; replicaId: string },
): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT FROM leader l JOIN terms t USING (term, replica_id) JOIN replicas r USING (replica_id)
      WHERE r.name = $1 AND l.replica_id <> $2 AND t.ended_at IS NULL
        AND t.ticked_at > clock_timestamp() - interval '5 seconds'`,
    [name, replicaId],
  )
  return rowCount === 1
}

/** False: another session, of this or another replica, has it. */
export async function takeName(client: pg.ClientBase, name: string): Promise<boolean> {
  const { rows } = await client.query<{ taken: boolean }>(
    'SELECT pg_try_advisory_lock(1970168949, hashtext($1)) AS taken',
    [name],
  )
  return rows[0]?.taken === true
}

async function lookThrough(
  url: string,
  name: string,
  poolRole: string | undefined,
  signal: AbortSignal,
) {
  const [one, other] = [createClient(url, name), createClient(url, name)]
  // Not end(): a way that has fallen silent would be waited for.
  const cut = () => {
    for (const client of [one, other]) destroySocket(client)
  }
  signal.addEventListener('abort', cut, { once: true })
  try {
    await one.connect()
    await other.connect()
    return { face: await faceOf(one, poolRole), isPooled: await areLent(one, other) }
  } finally {
    signal.removeEventListener('abort', cut)
    cut()
  }
}

/** Two sessions, open at once. Asked in this order, a pooler that lends its sessions by the transaction lends
 *  one session to both, or two to one of them, however it chooses; once more, since others may use it, too. */
async function areLent(one: pg.Client, other: pg.Client): Promise<boolean> {
  const pids = { one: new Set<number>(), other: new Set<number>() }
  for (let round = 0; round < 3; round += 1) {
    for (let times = 0; times < 2; times += 1) pids.one.add(await pidOf(one))
    pids.other.add(await pidOf(other))
  }
  return pids.one.size + pids.other.size > 2 || [...pids.one].some((pid) => pids.other.has(pid))
}

function createClient(url: string, name: string): pg.Client {
  const client = new pg.Client(connectionOptions(url, `${name} self-test`))
  // What ends the session fails the statement under way; without a listener it ends the process.
  client.on('error', () => undefined)
  return client
}

async function pidOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  return rows[0]?.pid ?? 0
}

async function faceOf(client: pg.Client, poolRole: string | undefined): Promise<Face> {
  const { rows } = await client.query<Face>(
    `SELECT current_setting('server_version_num')::integer AS version, current_user::text AS role,
        pg_has_role(coalesce($1, current_user::text), 'USAGE') AS may_end,
        current_schema() IS NOT NULL AS may_use_schema,
        coalesce(has_table_privilege(to_regclass('migrations'), 'SELECT'), true) AS may_see_schema,
        pg_is_in_recovery() AS in_recovery,
        current_setting('default_transaction_read_only')::boolean AS read_only,
        (SELECT system_identifier FROM pg_control_system())::text || '/' || oid AS database
      FROM pg_database WHERE datname = current_database()`,
    [poolRole],
  )
  if (!rows[0]) throw new Error('the database does not know itself')
  return rows[0]
}
