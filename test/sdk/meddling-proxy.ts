import { type Call, startHttpProxy } from '../support/http-proxy.ts'

/** Answers itself, loses the answer of the replica, or neither. */
export type Meddle = (call: Call) => { status: number; body: string } | 'lose' | undefined

/** In front of a replica: passes on what `meddle` does not answer itself. */
export const startProxy = (target: string, meddle: Meddle) =>
  startHttpProxy(target, async (_request, response, call, pass) => {
    const own = meddle(call)
    if (own !== undefined && own !== 'lose') return response.writeHead(own.status).end(own.body)
    const answer = await pass()
    if (own === 'lose') throw new Error('the answer is lost')
    return response.writeHead(answer.status).end(await answer.text())
  })
