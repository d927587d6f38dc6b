// The JSON Schemas of the identity files, for editors: what an editor accepts may still be refused at load, never the other way round.
import { clientsSchema } from './clients.ts'
import { issuersSchema } from './issuers.ts'
import { peopleSchema } from './people.ts'

/** File name in `config/` and the schema. */
export const identitySchemas = (): Readonly<Record<string, object>> => ({
  'people.schema.json': peopleSchema(),
  'clients.schema.json': clientsSchema(),
  'issuers.schema.json': issuersSchema(),
})
