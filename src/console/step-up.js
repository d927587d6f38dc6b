// Asks the browser for the passkey and sends its answer back. All it knows stands in the page; all it writes is text. It decides nothing: a
// script that was altered can make a passkey sign something else, and the broker then refuses what it does not expect.
const form = document.querySelector('#signing')
const button = document.querySelector('#sign')
const outcome = document.querySelector('#outcome')

const tell = (kind, text) => {
  outcome.className = kind
  outcome.textContent = text
}

const bytesOf = (text) =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (sign) => sign.charCodeAt(0))
const textOf = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
const known = (credentials) =>
  credentials.map(({ id, transports }) => ({ type: 'public-key', id: bytesOf(id), transports }))

const signed = async ({ get, create }) =>
  plain(
    await (create === undefined
      ? navigator.credentials.get({
          publicKey: {
            challenge: bytesOf(get.challenge),
            rpId: get.rpId,
            allowCredentials: known(get.allowCredentials),
            userVerification: 'required',
          },
        })
      : navigator.credentials.create({
          publicKey: {
            challenge: bytesOf(create.challenge),
            rp: { id: create.rpId, name: 'Writ' },
            user: { id: bytesOf(create.user.id), name: create.user.name, displayName: create.user.name },
            pubKeyCredParams: create.algorithms.map((alg) => ({ type: 'public-key', alg })),
            excludeCredentials: known(create.excludeCredentials),
            authenticatorSelection: { residentKey: 'preferred', userVerification: 'required' },
            attestation: 'none',
          },
        })),
  )

const plain = ({ id, rawId, type, response }) => ({
  id,
  rawId: textOf(rawId),
  type,
  response: {
    clientDataJSON: textOf(response.clientDataJSON),
    ...(response.attestationObject === undefined
      ? { authenticatorData: textOf(response.authenticatorData), signature: textOf(response.signature) }
      : { attestationObject: textOf(response.attestationObject), transports: response.getTransports() }),
  },
})

async function send(credential) {
  const answer = await fetch(location.pathname, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(credential),
    credentials: 'omit',
    redirect: 'error',
  })
  const said = await answer.json()
  if (answer.ok) {
    tell('done', said.message)
    if (typeof said.next === 'string') location.assign(said.next)
    return
  }
  tell('refused', [said.detail, said.next_action].filter((text) => text !== undefined).join(' '))
}

async function go() {
  button.disabled = true
  tell('waiting', 'Your passkey is asked for.')
  let credential
  try {
    credential = await signed(JSON.parse(form.dataset.options))
  } catch (thrown) {
    tell('refused', `The passkey did not sign (${thrown.name}). Nothing was sent; you may try again.`)
    button.disabled = false
    return
  }
  try {
    await send(credential)
  } catch {
    tell('refused', 'The broker did not answer. Look at the grant to see whether it was taken.')
  }
}

if (form !== null) {
  tell('ready', 'Nothing is signed yet.')
  button.addEventListener('click', go)
}
