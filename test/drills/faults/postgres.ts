import type { Drill } from '../drill.ts'

function crash(name: string, title: string, signal: 'SIGQUIT' | 'SIGKILL'): Drill {
  return {
    name,
    title,
    promotes: true,
    async run(stage) {
      await stage.fault(
        signal,
        'postgres',
        () => stage.postgres.crash(signal),
        () => stage.postgres.startAgain(),
      )
      await stage.untilWhole()
    },
  }
}

export const postgresRestart: Drill = {
  ...crash('postgres-restart', 'Postgres is restarted with -m immediate', 'SIGQUIT'),
  smokeRuns: 1,
}

export const postgresKill = crash('postgres-kill', 'kill -9 of Postgres', 'SIGKILL')
