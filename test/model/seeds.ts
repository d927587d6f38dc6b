// Sequences that once told a difference, kept act by act in seeds.json and run again each time, so that they stay what they were whatever is
// drawn by then.
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import type { Act } from './acts.ts'

const seeds = z.array(z.strictObject({ why: z.string(), acts: z.array(z.custom<Act>()) }))
export type Seed = z.infer<typeof seeds>[number]

export const readSeeds = (): readonly Seed[] =>
  seeds.parse(JSON.parse(readFileSync(new URL('./seeds.json', import.meta.url), 'utf8')))
