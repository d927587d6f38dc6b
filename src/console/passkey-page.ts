// The page on which a passkey is registered, or signs that another one may be registered or that one is removed.
import type { PasskeyPage } from '../broker/passkeys.ts'
import { type Html, html, shown } from './html.ts'
import { layout, type Options, signing } from './layout.ts'

export function passkeyPage({ ceremony, text }: PasskeyPage, options: Options): Html {
  const { kind, person, name } = ceremony
  const called = html`<dl id="critical"><div><dt>Person</dt><dd data-path="person"><code>${shown(person)}</code></dd></div><div><dt>Passkey</dt><dd data-path="name"><code>${shown(name)}</code></dd></div></dl>`
  const foot = html`<p>${kind === 'add' ? 'What the new passkey is made for' : 'The very text that your passkey signs'}, by its SHA-256:</p><pre id="signed">\n${shown(text)}</pre>`
  if (kind === 'add')
    return layout(
      'Writ: register a passkey',
      html`<main><h1>Register a <strong>new passkey</strong></h1>${called}${signing('Register a passkey', options)}
<p>Whoever can use this passkey can sign decisions as ${shown(person)}. Go on only if you began this yourself.</p>${foot}</main>`,
    )
  return layout(
    kind === 'prove_add' ? 'Writ: allow another passkey' : 'Writ: remove a passkey',
    html`<main><h1>${kind === 'prove_add' ? html`Allow <strong>another passkey</strong>` : html`<strong>Remove</strong> a passkey`}</h1>${called}${signing(
      'Sign with a passkey that you have',
      options,
    )}
<p>${
      kind === 'prove_add'
        ? 'After this the new one is registered. Go on only if you began this yourself.'
        : 'It will sign nothing here any more. What it signed before stays as it is.'
    }</p>${foot}</main>`,
  )
}
