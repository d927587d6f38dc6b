// All scenes, in the order in which they are played: those that share a stage stand together.
import type { Scene } from './scene.ts'
import { S1, S2, S3 } from './scenes/exchange.ts'
import { S4 } from './scenes/floor.ts'
import { S5 } from './scenes/introspection.ts'

export const SCENES: readonly Scene[] = [S1, S2, S3, S4, S5]
