import { spawn } from 'node:child_process'
import { cliPath } from '../../src/dev/replica-process.ts'
import { tempFolder } from './temp.ts'

export interface CliResult {
  code: number | null
  stdout: string
  stderr: string
  /** stdout as JSON. */
  json(): ReturnType<typeof JSON.parse>
}

/** Runs `understudy …` to its end, in an empty folder and with nothing set but what is given. */
export async function cli(
  args: string[],
  options: { env?: Record<string, string>; cwd?: string; stdin?: string } = {},
): Promise<CliResult> {
  const child = spawn(process.execPath, [cliPath, ...args], {
    cwd: options.cwd ?? tempFolder('cli'),
    env: { PATH: process.env.PATH, HOME: '/nonexistent', ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  child.stdin.end(options.stdin ?? '')
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  const stdout = Buffer.concat(out).toString()
  return {
    code,
    stdout,
    stderr: Buffer.concat(err).toString(),
    json: () => JSON.parse(stdout),
  }
}
