#!/usr/bin/env node
import { enableCompileCache } from 'node:module'

// Halves the time to start; it must come before the modules that it is to cache.
enableCompileCache()
const { runCli } = await import('./program.ts')
process.exitCode = await runCli()
