import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../../../src/dev/ports.ts'

/** HAProxy with docker/haproxy.cfg, as in production, in front of two replicas. */

export const balancerConfig = fileURLToPath(new URL('../../../docker/haproxy.cfg', import.meta.url))

const servers = ['active/one', 'active/two', 'ready/one', 'ready/two'] as const

/** A backend, and one of the two replicas in it. */
export type Server = (typeof servers)[number]

/** NOLB: it answered its probe with 503, and gets no new requests; no: it is not probed, and gets some. */
export type ServerState = 'UP' | 'DOWN' | 'NOLB' | 'no' | ''

export interface BalancerOptions {
  /** The URLs of replicas one and two. */
  replicas: [string, string]
  port?: number
  /** The program; `haproxy` of the PATH unless told. */
  haproxy?: string
  /** Another configuration, to measure with. */
  config?: string
}

export interface Balancer {
  readonly url: string
  readonly pid: number
  /** What it logged. */
  readonly lines: string[]
  /** Called for each line that it logs from now on. */
  onLog(listener: (line: string) => void): void
  /** One command of its socket; its answer. */
  command(text: string): Promise<string>
  states(): Promise<Record<Server, ServerState>>
  /** A counter of a server, by its name in `show stat`: wretr, wredis, scur, … */
  count(server: Server, name: string): Promise<number>
  /** Resolves once a server stands so. */
  untilState(server: Server, passes: (state: ServerState) => boolean): Promise<void>
  /** From now on it sends to every replica, whatever it answers to probes, as ALB and NLB do when all fail. */
  failOpen(): Promise<void>
  /** Probes decide again. */
  heedProbes(): Promise<void>
  stop(): Promise<void>
}

/** A balancer that has heard all its servers' first probes. */
export async function startBalancer(options: BalancerOptions): Promise<Balancer> {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-balancer-'))
  const port = options.port ?? (await findFreePort())
  const socket = join(folder, 'socket')
  const [one, two] = options.replicas.map((url) => new URL(url).host)
  const child = spawn(
    options.haproxy ?? findHaproxy(),
    ['-db', '-f', options.config ?? balancerConfig],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        UNDERSTUDY_ONE: one,
        UNDERSTUDY_TWO: two,
        BALANCER_BIND: `127.0.0.1:${port}`,
        BALANCER_SOCKET: socket,
      },
    },
  )
  const balancer = describe(child, `http://127.0.0.1:${port}`, socket, folder)
  try {
    await untilProbed(balancer, child)
  } catch (error) {
    await balancer.stop()
    throw error
  }
  return balancer
}

/** Debian puts it where an ordinary user does not look. */
function findHaproxy(): string {
  return existsSync('/usr/sbin/haproxy') ? '/usr/sbin/haproxy' : 'haproxy'
}

function describe(child: ChildProcess, url: string, socket: string, folder: string): Balancer {
  const lines: string[] = []
  const listeners: ((line: string) => void)[] = []
  // It tells the terminal what it logs, and why it does not start.
  child.stderr?.setEncoding('utf8').on(
    'data',
    eachLine((line) => {
      if (line.startsWith('[ALERT]')) lines.push(line)
    }),
  )
  child.stdout?.setEncoding('utf8').on(
    'data',
    eachLine((line) => {
      lines.push(line)
      for (const listener of listeners) listener(line)
    }),
  )
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const command = (text: string) => ask(socket, text)
  const forServers = async (verb: (server: string) => string) => {
    for (const server of servers) await command(verb(server))
  }
  const balancer: Balancer = {
    url,
    pid: child.pid ?? 0,
    lines,
    onLog: (listener) => void listeners.push(listener),
    command,
    states: async () => statesOf(await command(showServers)),
    async count(server, name) {
      const rows = rowsOf(await command(showServers))
      return Number(rows.find((row) => nameOf(row) === server)?.[name])
    },
    async untilState(server, passes) {
      while (!passes((await balancer.states())[server])) await sleep(5)
    },
    async failOpen() {
      await forServers((server) => `disable health ${server}`)
      await forServers((server) => `set server ${server} health up`)
    },
    heedProbes: () => forServers((server) => `enable health ${server}`),
    async stop() {
      child.kill('SIGKILL')
      await exited
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return balancer
}

async function untilProbed(balancer: Balancer, child: ChildProcess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null || child.pid === undefined) {
      throw new Error(`HAProxy ended: ${balancer.lines.join('\n')}`)
    }
    const stat = await balancer.command(showServers).catch(() => '')
    const probes = rowsOf(stat).map(({ check_status }) => check_status ?? '')
    // '* ' marks one that runs for the first time, INI one that has not.
    if (probes.length === servers.length && probes.every((probe) => /^L\d/.test(probe))) return
    await sleep(5)
  }
}

const showServers = 'show stat -1 4 -1'

function statesOf(stat: string): Record<Server, ServerState> {
  const entries = rowsOf(stat).map((row) => {
    // 'UP 1/2' is one that is going down.
    return [nameOf(row), (row.status ?? '').split(' ')[0]]
  })
  return Object.fromEntries(entries)
}

function nameOf({ pxname, svname }: Record<string, string>): string {
  return `${pxname}/${svname}`
}

function rowsOf(stat: string): Record<string, string>[] {
  const [head = '', ...rows] = stat.replace(/^# /, '').trim().split('\n')
  const names = head.split(',')
  return rows.map((row) => {
    const values = row.split(',')
    return Object.fromEntries(names.map((name, at) => [name, values[at] ?? '']))
  })
}

function ask(path: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(path)
    socket.setEncoding('utf8').on('data', (text: string) => {
      answer += text
    })
    socket.once('error', reject).once('end', () => resolve(answer))
    socket.end(`${command}\n`)
  })
}

function eachLine(onLine: (line: string) => void): (text: string) => void {
  let rest = ''
  return (text) => {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    for (const line of parts) onLine(line)
  }
}
