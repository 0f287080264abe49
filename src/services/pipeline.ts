import type { JobSubmit } from '../contract/jobs.ts'
import { enter } from '../domain/stage.ts'
import type { JobClass } from '../sql/classes.ts'
import type { NewStage } from '../sql/stages.ts'

/** The stages of a submit, as its job has them from the beginning. */

type ClassName = Omit<JobClass, 'class_id'>

/** With what they take from their job written out. */
export function resolveStages({ kind, requires, stages = [] }: JobSubmit) {
  return stages.map(({ name, manual, ...own }) =>
    manual ? { name, manual } : { name, manual, kind, requires, ...own },
  )
}

/** The classes that its stages are in, in order; without any executor work, the one that it would have had. */
export function classNamesOf(submit: JobSubmit): ClassName[] {
  const { queue, kind, requires } = submit
  const worked = (submit.stages ?? []).filter(({ manual }) => !manual)
  if (worked.length === 0) return [{ queue, kind, requires }]
  return worked.map((stage) => ({
    queue,
    kind: stage.kind ?? kind,
    requires: stage.requires ?? requires,
  }))
}

/** Where a job begins, and its stages. */
export interface Pipeline {
  class_id: number
  stage: string | null
  waiting_for: 'decision' | null
  stages: NewStage[]
}

/** `classIds` are of `classNamesOf` the same submit. */
export function planOf(jobId: string, submit: JobSubmit, classIds: number[]): Pipeline {
  const left = [...classIds]
  const stages = (submit.stages ?? []).map(
    ({ name, manual }, position): NewStage => ({
      job_id: jobId,
      position,
      name,
      class_id: manual ? null : mustBe(left.shift()),
    }),
  )
  const [first] = stages
  return {
    class_id: mustBe(classIds[0]),
    stage: first?.name ?? null,
    waiting_for: first ? enter(first).waitingFor : null,
    stages,
  }
}

function mustBe(classId: number | undefined): number {
  if (classId === undefined) throw new Error('a stage has no class')
  return classId
}
