import { type Call, startHttpProxy } from '../support/http-proxy.ts'

/** Answers itself; or loses or spoils the answer of the replica, which has done what it was asked by then; or neither. */
export type Meddle = (call: Call) => { status: number; body: string } | 'lose' | 'spoil' | undefined

/** In front of a replica: passes on what `meddle` does not answer itself. */
export const startProxy = (target: string, meddle: Meddle) =>
  startHttpProxy(target, async (_request, response, call, pass) => {
    const own = meddle(call)
    if (typeof own === 'object') return response.writeHead(own.status).end(own.body)
    const answer = await pass()
    if (own === 'lose') throw new Error('the answer is lost')
    if (own === 'spoil') return response.writeHead(400).end('{"code":"invalid_request"}')
    return response.writeHead(answer.status).end(await answer.text())
  })
