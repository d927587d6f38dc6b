// What a broker that can be aimed at and the crash run say to each other, one JSON text a line.
import type { Point } from './effect-points.ts'

/** To the broker: die there, or wait there; forget that; go on; do what it would only do later. */
export type AimedTold =
  | { readonly do: 'aim'; readonly point: Point; readonly who: 'self' | 'other' }
  | { readonly do: 'rest' | 'go' | 'retire' | 'look-through' | 'canary' }

/** Of the broker. */
export type AimedSays =
  | { readonly is: 'up'; readonly slot: number; readonly points: readonly Point[] }
  | { readonly is: 'there'; readonly point: Point }
