// The user's language: of texts that no schema has, and of what the server says.

import { api } from '../../../scripts/api.js'
import { app } from '../../../scripts/app.js'

const ROUTE = '/liveportrait-v2v/language'

const locale = () => app.extensionManager.setting?.get('Comfy.Locale') ?? 'en'

// The entry of the user's language, English for those without one.
export function inLanguage(texts) {
  return texts[locale().split('-')[0]] ?? texts.en
}

// Ask one of the pack's routes, which answers in the language in which the nodes are shown.
export function fetchShown(route, options = {}) {
  return api.fetchApi(route, { ...options, headers: { ...options.headers, 'Accept-Language': locale() } })
}

let sent

// Send this page's language for the runs that it queues, once for each language and connection.
async function send() {
  const now = JSON.stringify({ client: api.clientId, language: locale() })
  if (!api.clientId || now === sent) return
  sent = now
  const answer = await api
    .fetchApi(ROUTE, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: now })
    .catch(() => null)
  if (!answer?.ok) sent = undefined
}

app.registerExtension({
  name: 'LivePortraitV2V.Language',
  setup() {
    send()
    for (const event of ['status', 'promptQueueing']) api.addEventListener(event, send)
    // The server has forgotten it if it was started anew.
    api.addEventListener('reconnected', () => {
      sent = undefined
      send()
    })
  }
})
