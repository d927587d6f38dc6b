// All scenes, in the order in which they are played: those that share a stage stand together, and a store that grows is looked at while it does.
import type { Scene } from './scene.ts'
import { S7 } from './scenes/contain.ts'
import { S10 } from './scenes/drain.ts'
import { S9 } from './scenes/ends.ts'
import { S1, S2, S3 } from './scenes/exchange.ts'
import { S4 } from './scenes/floor.ts'
import { S12 } from './scenes/growth.ts'
import { S5 } from './scenes/introspection.ts'
import { S8 } from './scenes/memory.ts'
import { S6 } from './scenes/tail.ts'
import { S11 } from './scenes/vault-ends.ts'

export const SCENES: readonly Scene[] = [S1, S2, S3, S4, S5, S6, S7, S9, S11, S12, S8, S10]
