import { hash } from 'node:crypto'
import stringify from 'safe-stable-stringify'

/** What stands for a body beside its idempotency key: the same, whatever the order of its fields. */
export function hashOf(body: object): Buffer {
  return hash('sha256', stringify(body) ?? '', 'buffer')
}
