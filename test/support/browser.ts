// A browser as a person uses it, over the DevTools protocol: each person has a profile of their own with a passkey in it. What a page does
// besides (dialogs, errors, requests) is kept for whoever wants to know that it did nothing.

export interface Browser {
  /** A page in a profile of its own, with an authenticator that has its user verified. */
  person(): Promise<Page>
  close(): void
}
export interface Page {
  /** Resolves when the page and its script are there. */
  open(url: string): Promise<void>
  /** The value of an expression in the page, awaited. */
  evaluate<T = unknown>(expression: string): Promise<T>
  /** Resolves when the expression is true, here or on the page that follows. */
  until(expression: string): Promise<void>
  /** Sends a command of the protocol to this page. */
  send<T = unknown>(method: string, params?: object): Promise<T>
  /** Whether its authenticator finds that it is its user. */
  setUserVerified(isUserVerified: boolean): Promise<unknown>
  readonly seen: Seen
  /** PNG. */
  screenshot(): Promise<Buffer>
}
export interface Seen {
  dialogs: string[]
  /** Errors and warnings on the console, and of the browser about the page. */
  errors: string[]
  /** Method and URL of everything that it asked for. */
  requests: string[]
}

type Params = Readonly<Record<string, unknown>>
interface Message {
  readonly id?: number
  readonly sessionId?: string
  readonly method?: string
  readonly params?: Params
  readonly result?: unknown
  readonly error?: { readonly message: string }
}
type Listener = (method: string, params: Params) => void

export async function connectBrowser(url: string): Promise<Browser> {
  const socket = new WebSocket(url)
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  const listeners = new Map<string, Listener>()
  let last = 0
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => resolve(), { once: true })
    socket.addEventListener('error', () => reject(new Error('the browser does not answer')), { once: true })
  })
  socket.addEventListener('message', ({ data }) => {
    const message: Message = JSON.parse(String(data))
    if (message.id === undefined) {
      listeners.get(message.sessionId ?? '')?.(message.method ?? '', message.params ?? {})
      return
    }
    const one = waiting.get(message.id)
    waiting.delete(message.id)
    if (message.error === undefined) one?.resolve(message.result)
    else one?.reject(new Error(message.error.message))
  })
  const send = <T>(method: string, params: object = {}, sessionId?: string): Promise<T> => {
    last += 1
    const id = last
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve: (value) => resolve(value as T), reject })
      socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }))
    })
  }
  return {
    person: async () => {
      const { browserContextId } = await send<{ browserContextId: string }>('Target.createBrowserContext')
      const { targetId } = await send<{ targetId: string }>('Target.createTarget', {
        url: 'about:blank',
        browserContextId,
      })
      const { sessionId } = await send<{ sessionId: string }>('Target.attachToTarget', { targetId, flatten: true })
      return pageOf(
        (method, params) => send(method, params, sessionId),
        (listener) => listeners.set(sessionId, listener),
      )
    },
    close: () => socket.close(),
  }
}

async function pageOf(send: Page['send'], listen: (listener: Listener) => void): Promise<Page> {
  const seen: Seen = { dialogs: [], errors: [], requests: [] }
  let loaded: () => void = () => undefined
  listen((method, params) => {
    if (method === 'Page.loadEventFired') loaded()
    if (method === 'Page.javascriptDialogOpening') {
      seen.dialogs.push(String(params.message))
      void send('Page.handleJavaScriptDialog', { accept: false })
    }
    if (method === 'Runtime.exceptionThrown') seen.errors.push(JSON.stringify(params.exceptionDetails))
    if (method === 'Runtime.consoleAPICalled') seen.errors.push(JSON.stringify(params.args))
    if (method === 'Log.entryAdded') seen.errors.push(JSON.stringify(params.entry))
    if (method === 'Network.requestWillBeSent') {
      const { method: verb, url } = params.request as { method: string; url: string }
      seen.requests.push(`${verb} ${url}`)
    }
  })
  for (const domain of ['Page', 'Runtime', 'Log', 'Network', 'WebAuthn']) await send(`${domain}.enable`)
  const { authenticatorId } = await send<{ authenticatorId: string }>('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  const evaluate = async <T>(expression: string): Promise<T> => {
    // What the page may not do, a test must not do for it.
    const asked = { expression, awaitPromise: true, returnByValue: true, userGesture: true }
    const options = { ...asked, allowUnsafeEvalBlockedByCSP: false }
    const { result, exceptionDetails } = await send<{ result: { value: T }; exceptionDetails?: object }>(
      'Runtime.evaluate',
      options,
    )
    if (exceptionDetails !== undefined) throw new Error(`in the page: ${JSON.stringify(exceptionDetails)}`)
    return result.value
  }
  return {
    seen,
    send,
    setUserVerified: (isUserVerified) => send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified }),
    evaluate,
    open: async (url) => {
      const there = new Promise<void>((resolve) => {
        loaded = resolve
      })
      await send('Page.navigate', { url })
      await there
    },
    until: async (expression) => {
      // Asked again at each turn of the page's own clock: no time of ours.
      const look = `new Promise((resolve) => {
        const look = () => ((${expression}) ? resolve() : setTimeout(look, 5))
        look()
      })`
      for (let isThere = false; !isThere; ) {
        isThere = await evaluate(look).then(
          () => true,
          (thrown: Error) => {
            if (/navigated|destroyed|Cannot find context/.test(thrown.message)) return false
            throw thrown
          },
        )
      }
    },
    screenshot: async () => {
      const { data } = await send<{ data: string }>('Page.captureScreenshot', { format: 'png' })
      return Buffer.from(data, 'base64')
    },
  }
}
