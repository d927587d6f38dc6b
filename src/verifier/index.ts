// `writ/verifier`: what a resource server imports to check the broker's credentials. The only way in; everything else may change.
export type { JwkSet } from './keys.ts'
export {
  answerRefusal,
  type ExpressMiddleware,
  type ExpressRequest,
  type Guard,
  guardExpress,
  guardNode,
  type NodeHandler,
  presentedBy,
} from './middleware.ts'
export type { About, RefusalCode, Refused, ReportedReason } from './refusal.ts'
export type { UseOnce } from './replays.ts'
export { DROPPED_ACTION, type ReportFigures } from './reports.ts'
export type { Problem } from './standing.ts'
export {
  type Demands,
  type Figures,
  type Presented,
  planDigest,
  type Revocation,
  type Told,
  type Verdict,
  type Verifier,
  type VerifierOptions,
  verifier,
} from './verifier.ts'
export type { Credential } from './verify.ts'
export type { ClientKey } from './wire.ts'
