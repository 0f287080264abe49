import { expect, test } from 'vitest'
import { tempFolder } from '../support/temp.ts'
import { mutations } from './mutations.ts'
import { copyBuild } from './stage/build.ts'

test.each(mutations)('the planted bug $name still fits the code', async ({ edits }) => {
  const { migrations } = await copyBuild(tempFolder('mutation'), edits)
  expect(migrations.length).toBeGreaterThan(0)
})
