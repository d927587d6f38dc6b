// Runs before each file of the journeys: whatever a broker answers to their clients is held against the API document.
import { listen } from '../../deploy/dev/client.ts'
import { openApiDocument } from '../../src/http/openapi.ts'
import { openApiCheck } from './openapi-check.ts'

const check = openApiCheck(openApiDocument('https://writ.example'))
listen((heard) => {
  const wrong = check(heard)
  if (wrong.length > 0) throw new Error(`not as the API document says: ${wrong.join('; ')}`)
})
