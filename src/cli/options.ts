import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { type Command, InvalidArgumentError } from 'commander'
import { Client } from '../sdk/index.ts'
import { findConnection } from './connection.ts'
import { UsageError } from './exit.ts'

export interface ClientFlags {
  urls?: string
  token?: string
  json?: boolean
}

/** The options that every command has that talks to replicas. */
export function withClientOptions(command: Command): Command {
  return command
    .option('--urls <list>', 'replica URLs, comma-separated (UNDERSTUDY_URLS)')
    .option('--token <token>', 'token to show (UNDERSTUDY_TOKEN)')
    .option('--json', 'print JSON')
}

/** Runs `fn` with a client, and closes it. */
export async function useClient<T>(
  flags: ClientFlags,
  fn: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client(findConnection(flags))
  try {
    return await fn(client)
  } finally {
    await client.close()
  }
}

export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER) {
  return (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < min || value > max) {
      throw new InvalidArgumentError(`Give a whole number from ${min} to ${max}.`)
    }
    return value
  }
}

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** Milliseconds; or with a unit: 500ms, 30s, 10m, 2h. */
export function duration(text: string): number {
  const [, number, unit = 'ms'] = /^(\d{1,12})(ms|s|m|h)?$/.exec(text) ?? []
  if (number === undefined) {
    throw new InvalidArgumentError('Give milliseconds, or a number with ms, s, m or h.')
  }
  return Number(number) * units[unit as keyof typeof units]
}

/** This machine, as an id. */
export function hostId(): string {
  return hostname().replace(/[^A-Za-z0-9._:@-]/g, '-')
}

/** Gathers a repeated option into a list. */
export function repeated(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value]
}

/** Gathers a repeated `name=value` into an object. */
export function pair(text: string, before: Record<string, string> | undefined) {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? []
  if (name === undefined || value === undefined) {
    throw new InvalidArgumentError('Give it as name=value.')
  }
  return { ...before, [name]: value }
}

/** JSON as it stands, from a file as @path, or from stdin as -. What is none is not repeated: it may hold a
 *  secret, and this may be a build's log. */
export function json(text: string): unknown {
  const source = text === '-' ? 0 : text.startsWith('@') ? text.slice(1) : undefined
  try {
    return JSON.parse(source === undefined ? text : readFileSync(source, 'utf8'))
  } catch (error) {
    const { message } = error as Error
    if (!(error instanceof SyntaxError)) throw new UsageError(message)
    const [where = ''] = / at position \d+(?: \(.*\))?$/.exec(message) ?? []
    throw new UsageError(`what is given as JSON is not JSON${where}`)
  }
}
