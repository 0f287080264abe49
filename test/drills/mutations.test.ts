import { expect, test } from 'vitest'
import { copyBuild } from '../support/build.ts'
import { tempFolder } from '../support/temp.ts'
import { mutations } from './mutations.ts'

test.each(mutations)('the planted bug $name still fits the code', async ({ edits }) => {
  const { migrations } = await copyBuild(tempFolder('mutation'), edits)
  expect(migrations.length).toBeGreaterThan(0)
})
