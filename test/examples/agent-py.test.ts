import { describe } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { testExecutor } from './executor-tests.ts'

const db = useDatabase()

describe('examples/agent.py', () => testExecutor('agent.py', db))
