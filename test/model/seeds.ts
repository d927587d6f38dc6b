// Sequences that once told a difference, kept in seeds.json and run again each time: whatever was wrong there stays mended.
import { readFileSync } from 'node:fs'
import { z } from 'zod'

const seeds = z.array(
  z.strictObject({
    seed: z.int(),
    path: z.string(),
    replayPath: z.string(),
    /** What was wrong. */
    why: z.string(),
  }),
)
export type Seed = z.infer<typeof seeds>[number]

export const readSeeds = (): readonly Seed[] =>
  seeds.parse(JSON.parse(readFileSync(new URL('./seeds.json', import.meta.url), 'utf8')))
