import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { endWithUs } from '../drills/stage/leftovers.ts'
import type { Acts, Told } from './load/serve.ts'

/** Who puts load on something: a process of its own, as users' processes are. It stays over all rounds, so that
 *  nobody is measured cold. */
export class LoadProcess<A extends Acts> {
  readonly #child: ChildProcess
  readonly pid: number

  constructor(module: string) {
    this.#child = fork(fileURLToPath(new URL(`load/${module}.ts`, import.meta.url)), {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.pid = this.#child.pid ?? 0
    this.#child.once('exit', endWithUs(this.pid))
  }

  /** Rejects with what went wrong there. */
  ask<Act extends keyof A & string>(act: Act, order: Parameters<A[Act]>[0]): ReturnType<A[Act]> {
    const answer = new Promise((resolve, reject) => {
      const settle = (told: Told) => {
        this.#child.off('exit', die)
        if ('error' in told) reject(new Error(told.error))
        else resolve(told.answer)
      }
      const die = () => reject(new Error(`a load process ended during ${act}`))
      this.#child.once('message', settle).once('exit', die)
      this.#child.send({ act, order })
    })
    return answer as ReturnType<A[Act]>
  }

  stop(): void {
    this.#child.kill('SIGKILL')
  }
}
