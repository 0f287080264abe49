import type { Staging } from '../ground.ts'

export const failover: Staging = (ground) => ({
  'the active was killed, and started again': async () => {
    await ground.startPair()
    await ground.stop('one', 'SIGKILL')
    await ground.replica('two').api.untilActive()
    await ground.startStandby('one')
    await ground.until(async () => {
      const { body } = await ground.replica('two').api.get('/metrics')
      return /^understudy_promotions_total/m.test(body)
    })
  },
  'the other one stands by again': () => ground.untilWaiting('one'),
  'the new leader serves': async () => {
    await ground.replica('one').api.untilActive()
    await ground.until(async () => {
      const { body } = await ground.replica('two').api.get('/health/active')
      return body.term === 3
    })
  },
})
