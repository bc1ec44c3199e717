// The command that stores Segmind's API key: a key must never be a widget, since workflows carry those along.

import { api } from '../../../scripts/api.js'
import { app } from '../../../scripts/app.js'

const ROUTE = '/liveportrait-v2v/segmind-key'

async function send(body) {
  const answer = await api.fetchApi(ROUTE, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body)
  })
  if (!answer.ok) throw new Error(await answer.text())
  return (await answer.json()).configured
}

// Resolves to what was typed, or null.
function ask(configured) {
  const dialog = document.createElement('dialog')
  dialog.id = 'lpv2v-segmind-key'
  const form = document.createElement('form')
  form.method = 'dialog'
  form.style.cssText = 'display: grid; gap: 0.75rem; width: 26rem'
  const text = document.createElement('label')
  text.textContent = configured
    ? 'A key is configured. A new one takes its place.'
    : 'Segmind API key. It is stored on the server, in a file that only its owner can read.'
  const field = document.createElement('input')
  field.type = 'password'
  field.autocomplete = 'off'
  field.required = true
  const save = document.createElement('button')
  save.textContent = 'Save'
  save.value = 'save'
  const cancel = document.createElement('button')
  cancel.textContent = 'Cancel'
  cancel.formNoValidate = true
  form.append(text, field, save, cancel)
  dialog.append(form)
  document.body.append(dialog)
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      resolve(dialog.returnValue === 'save' ? field.value.trim() : null)
      dialog.remove()
    })
    dialog.showModal()
  })
}

function say(severity, summary, detail) {
  app.extensionManager.toast.add({ severity, summary, detail, life: 6000 })
}

app.registerExtension({
  name: 'LivePortraitV2V.SegmindKey',
  commands: [
    {
      id: 'LivePortraitV2V.SetSegmindKey',
      label: 'Set Segmind API key',
      icon: 'pi pi-key',
      function: async () => {
        try {
          const key = await ask(await send({}))
          if (!key) return
          await send({ key })
          say('success', 'Segmind API key', 'The key is stored.')
        } catch (error) {
          say('error', 'Segmind API key', error.message)
        }
      }
    }
  ],
  menuCommands: [
    { path: ['Extensions', 'LivePortrait'], commands: ['LivePortraitV2V.SetSegmindKey'] }
  ]
})
