import type { RequestListener } from 'node:http'
import { text } from 'node:stream/consumers'
import { listen } from './listen.ts'

/** One call of an executor, on its way through a proxy. */
export interface Call {
  /** The last part of the path: register, poll, heartbeat, report. */
  name: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
  body: any
}

type Respond = (
  ...args: [...Parameters<RequestListener>, call: Call, pass: Pass]
) => Promise<unknown>
type Pass = () => Promise<Response>

/** A proxy in front of a replica. `respond` answers each call, by itself or with what `pass` brought from the
 *  replica; where it throws, the connection breaks. */
export function startHttpProxy(target: string, respond: Respond): Promise<string> {
  return listen((request, response) => {
    const forward = async () => {
      const { url = '', method = 'POST', headers } = request
      const body = await text(request)
      const gone = new AbortController()
      response.once('close', () => gone.abort())
      const pass = () =>
        fetch(`${target}${url}`, {
          method,
          headers: {
            authorization: headers.authorization ?? '',
            'content-type': 'application/json',
          },
          body,
          signal: gone.signal,
        })
      const call = { name: url.split('/').at(-1) ?? '', body: JSON.parse(body) }
      await respond(request, response, call, pass)
    }
    forward().catch(() => response.destroy())
  })
}
