// A shipped configuration file as text.
import { readFileSync } from 'node:fs'

export const configText = (name: string): string =>
  readFileSync(new URL(`../../config/${name}`, import.meta.url), 'utf8')
