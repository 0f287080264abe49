import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

/** Every metric that there is, by the table of docs/metrics.md. Labels take values from tables in the code
 *  alone, never from a request or the database: what anybody could make up would grow without bound. */
export function defineMetrics(registry: Registry) {
  const make = makers(registry)
  return { ...leadership(make), ...work(make), ...http(make), ...surroundings(make) }
}

type Make = ReturnType<typeof makers>

function makers(registry: Registry) {
  const registers = [registry]
  const name = (bare: string) => `understudy_${bare}`
  return {
    counter: <Label extends string = never>(bare: string, help: string, ...labelNames: Label[]) =>
      new Counter({ name: name(bare), help, labelNames, registers }),
    gauge: <Label extends string = never>(bare: string, help: string, ...labelNames: Label[]) =>
      new Gauge({ name: name(bare), help, labelNames, registers }),
    histogram: <Label extends string = never>(
      bare: string,
      help: string,
      buckets: number[],
      ...labelNames: Label[]
    ) => new Histogram({ name: name(bare), help, buckets, labelNames, registers }),
  }
}

/** Seconds. What should take milliseconds, up to what ends a term. */
const quick = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10]
/** Up to the longest poll. */
const requests = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30]

function leadership({ counter, gauge, histogram }: Make) {
  return {
    state: gauge('controller_state', '1 for the state that this replica is in', 'state'),
    ready: gauge('ready', '1: clients are served, as by /health/ready'),
    leading: gauge('leading', '1: this replica leads, recovering or active'),
    term: gauge('term', 'The latest term that this replica knows of'),
    promotions: counter('promotions_total', 'By how the term before had ended', 'reason'),
    promotion: histogram(
      'promotion_seconds',
      'From the grant of the lock to the commit of the term',
      quick,
    ),
    termsEnded: counter('terms_ended_total', 'Terms of this replica, by why they ended', 'reason'),
    recovery: histogram('recovery_seconds', 'A recovery that was completed, as a whole', quick),
    recoveryPhase: histogram('recovery_phase_seconds', 'One phase of a recovery', quick, 'phase'),
    recoveryFailures: counter('recovery_failures_total', 'Recoveries that failed under their term'),
    margin: gauge('trust_margin_seconds', 'What is left of the trust window; 0: does not lead'),
    leastMargin: gauge(
      'trust_margin_min_seconds',
      'The least that was left in the term that leads, or led last; +Inf: none was led',
    ),
    ping: histogram('ping_seconds', 'Pings on the lock session, while leading', quick),
  }
}

function work({ counter, gauge, histogram }: Make) {
  return {
    leasesEnded: counter(
      'leases_ended_total',
      'Leases that ended, by how and by who found it',
      'tier',
      'outcome',
    ),
    deferrals: counter(
      'reclaim_deferrals_total',
      'How often the deadlines of all leases were moved',
      'reason',
    ),
    sweep: histogram('sweep_seconds', 'Runs of a sweep', quick, 'sweep'),
    sweepFailures: counter('sweep_failures_total', 'Runs of a sweep that failed', 'sweep'),
    sweepCounts: counter('sweep_counts_total', 'What sweeps did and found', 'sweep', 'what'),
    waiting: gauge('waiting_requests', 'Requests that wait for work, a job or a lock', 'for'),
  }
}

function http({ counter, gauge, histogram }: Make) {
  return {
    requests: counter(
      'http_requests_total',
      'Requests that were answered, by route',
      'route',
      'method',
      'status',
    ),
    request: histogram(
      'http_request_seconds',
      'From the header of a request to the end of its answer, long polls included',
      requests,
      'route',
      'method',
    ),
    problems: counter('http_problems_total', 'Answers that were errors, by code', 'code'),
    gateRejections: counter('gate_rejections_total', 'Requests that the gate refused', 'code'),
    connections: gauge('http_connections', 'Open connections of clients and executors'),
  }
}

function surroundings({ counter, gauge, histogram }: Make) {
  return {
    build: gauge('build_info', '1 for the version of this build', 'version'),
    reachable: gauge('database_reachable', '1: the database answered when it was last asked'),
    pool: gauge('db_pool_sessions', 'Sessions of a pool', 'pool', 'state'),
    poolWaiting: gauge('db_pool_waiting', 'Calls that wait for a session of a pool', 'pool'),
    loopDelay: histogram(
      'event_loop_delay_seconds',
      'How late timers ran, asked every 20 ms',
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2],
    ),
    gc: histogram('gc_seconds', 'Garbage collections', [0.001, 0.01, 0.1, 0.5, 1, 2], 'kind'),
    cpu: counter('process_cpu_seconds_total', 'User and system time of the process'),
    memory: gauge('process_resident_memory_bytes', 'Resident memory of the process'),
    heap: gauge('process_heap_used_bytes', 'Used part of the heap of JavaScript'),
    startedAt: gauge('process_start_time_seconds', 'When the process started, since 1970'),
  }
}
