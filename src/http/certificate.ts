// The broker's own certificate, for a listener without a proxy in front. Read again when a file changes: a pair that fits replaces the
// one in use, one that does not leaves it. Invariant: never below TLS 1.3, also after a replacement.
import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'

export interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
}
/** What a TLS server takes. `minVersion` is in here because replacing a context without it falls back to TLS 1.2. */
export interface Certificate {
  readonly cert: string
  readonly key: string
  readonly minVersion: 'TLSv1.3'
}

/** Throws an Error with a message for people: what cannot be read, or that the two do not fit. It never quotes a file. */
export function readCertificate(files: CertificateFiles): Certificate {
  const certificate: Certificate = { cert: textOf(files.certFile), key: textOf(files.keyFile), minVersion: 'TLSv1.3' }
  try {
    createSecureContext(certificate)
  } catch (thrown) {
    throw new Error(`${files.certFile} and ${files.keyFile} cannot be used together: ${codeOf(thrown)}`)
  }
  return certificate
}

/**
 * Looks at the files; `use` gets a pair that is new and good, `refuse` what is wrong with a new one, once per content.
 * Cert and key are two files and change one after the other: what does not fit now may fit at the next look.
 */
export function certificateWatch(p: {
  readonly files: CertificateFiles
  readonly inUse: Certificate
  use(certificate: Certificate): void
  refuse(reason: string): void
}): () => void {
  let seen = printOf(p.inUse.cert, p.inUse.key)
  return () => {
    try {
      const now = printOf(textOf(p.files.certFile), textOf(p.files.keyFile))
      if (now === seen) return
      seen = now
      p.use(readCertificate(p.files))
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : 'unknown'
      if (reason === seen) return
      // A file that is away for a moment is told once; when it is back, it is new.
      if (thrown instanceof Unreadable) seen = reason
      p.refuse(reason)
    }
  }
}

const printOf = (cert: string, key: string): string => hash('sha256', `${cert}\0${key}`)

class Unreadable extends Error {}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (thrown) {
    throw new Unreadable(`${file} cannot be read: ${codeOf(thrown)}`)
  }
}

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown'
