// The frame of every page: plain HTML, one script and one style sheet, both files of this broker.
import { type Html, html, type Value } from './html.ts'

/** What the script hands to the browser's own dialogue about passkeys. */
export type Options =
  | {
      readonly get: {
        readonly challenge: string
        readonly rpId: string
        readonly allowCredentials: readonly { readonly id: string; readonly transports: readonly string[] }[]
      }
    }
  | {
      readonly create: {
        readonly challenge: string
        readonly rpId: string
        readonly user: { readonly id: string; readonly name: string }
        readonly algorithms: readonly number[]
        readonly excludeCredentials: readonly { readonly id: string; readonly transports: readonly string[] }[]
      }
    }

export const layout = (title: string, content: Value): Html => html`<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="stylesheet" href="/step-up.css">
<script src="/step-up.js" defer></script>
</head>
<body>
${content}
</body>
</html>`

/** The one thing to press, and where the outcome is told. Without a script nothing can be signed, and the page says so. */
export const signing = (label: string, options: Options): Html =>
  html`<form id="signing" data-options="${JSON.stringify(options)}"><button id="sign" type="button">${label}</button></form>
<p id="outcome" role="status">Nothing is signed yet. Without JavaScript nothing can be.</p>`

export const notice = (title: string, message: string, next: string | undefined): Html =>
  layout(
    title,
    html`<main><h1>${title}</h1><p>${message}</p>${next === undefined ? undefined : html`<p>${next}</p>`}</main>`,
  )
