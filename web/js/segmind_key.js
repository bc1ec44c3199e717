// The command that stores Segmind's API key: a key must never be a widget, since workflows carry those along.

import { app } from '../../../scripts/app.js'
import { fetchShown, inLanguage } from './language.js'

const ROUTE = '/liveportrait-v2v/segmind-key'
const CONSOLE = 'https://cloud.segmind.com'

const WORDS = {
  en: {
    title: 'Segmind API key',
    none: 'Animate Segmind needs a key. It is stored on the server, in a file that only its owner can read.',
    some: 'A key is stored. A new one takes its place.',
    console: "Get a key in Segmind's console",
    save: 'Save',
    cancel: 'Cancel',
    remove: 'Remove',
    saved: 'The key is stored.',
    removed: 'The stored key is removed.'
  },
  zh: {
    title: 'Segmind API 密钥',
    none: '「Segmind 面部动画」需要密钥。密钥保存在服务器上，文件仅其所有者可读。',
    some: '已保存密钥。新密钥将取代它。',
    console: '在 Segmind 控制台获取密钥',
    save: '保存',
    cancel: '取消',
    remove: '移除',
    saved: '密钥已保存。',
    removed: '密钥已移除。'
  },
  ja: {
    title: 'Segmind API キー',
    none: '「Segmind アニメーション」にはキーが必要です。キーはサーバー上の、所有者だけが読めるファイルに保存されます。',
    some: 'キーは保存済みです。新しいキーに置き換えられます。',
    console: 'Segmind のコンソールでキーを取得',
    save: '保存',
    cancel: 'キャンセル',
    remove: '削除',
    saved: 'キーを保存しました。',
    removed: 'キーを削除しました。'
  }
}

const words = () => inLanguage(WORDS)

async function send(body) {
  const answer = await fetchShown(ROUTE, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body)
  })
  if (!answer.ok) throw new Error(await answer.text())
  return (await answer.json()).configured
}

const STYLE = `
#lpv2v-segmind-key { width: 28rem; padding: 1.25rem 1.5rem; border-radius: 0.75rem; font: 14px Inter, sans-serif;
  border: 1px solid var(--border-color, #4e4e4e); background: var(--comfy-menu-bg, #202124);
  color: var(--input-text, #ddd) }
#lpv2v-segmind-key::backdrop { background: rgb(0 0 0 / 50%) }
#lpv2v-segmind-key form { display: grid; gap: 0.9rem }
#lpv2v-segmind-key h2 { margin: 0; font-size: 18px; font-weight: 600 }
#lpv2v-segmind-key a { color: var(--p-primary-color, #4aa3ff) }
#lpv2v-segmind-key input { width: 100%; padding: 0.5rem 0.7rem; border-radius: 0.4rem; box-sizing: border-box;
  border: 1px solid var(--border-color, #4e4e4e); background: var(--comfy-input-bg, #222); color: inherit }
#lpv2v-segmind-key footer { display: flex; gap: 0.5rem; justify-content: flex-end }
#lpv2v-segmind-key button { padding: 0.45rem 1rem; border: 0; border-radius: 0.4rem; cursor: pointer; color: inherit;
  background: var(--comfy-input-bg, #333) }
#lpv2v-segmind-key button[value=save] { background: var(--p-primary-color, #0b8ce9); color: #fff }
#lpv2v-segmind-key button[value=remove] { margin-right: auto; color: var(--error-text, #ff6b6b) }
`

function element(tag, text, values = {}) {
  const made = document.createElement(tag)
  made.textContent = text
  return Object.assign(made, values)
}

// Resolves to {key}, {remove: true} or null.
function ask(configured) {
  const say = words()
  const dialog = element('dialog', '', { id: 'lpv2v-segmind-key' })
  const form = element('form', '', { method: 'dialog' })
  const label = element('label', configured ? say.some : say.none, { htmlFor: 'lpv2v-segmind-key-field' })
  const field = element('input', '', {
    id: 'lpv2v-segmind-key-field',
    type: 'password',
    autocomplete: 'off',
    required: true
  })
  const link = element('a', say.console, { href: CONSOLE, target: '_blank', rel: 'noopener' })
  const buttons = document.createElement('footer')
  if (configured) buttons.append(element('button', say.remove, { value: 'remove', formNoValidate: true }))
  buttons.append(
    element('button', say.cancel, { value: 'cancel', formNoValidate: true }),
    element('button', say.save, { value: 'save' })
  )
  form.append(element('h2', say.title), label, field, link, buttons)
  // Enter presses the first button of a form.
  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return
    event.preventDefault()
    form.requestSubmit(buttons.querySelector('[value=save]'))
  })
  dialog.append(element('style', STYLE), form)
  document.body.append(dialog)
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      const answers = { save: { key: field.value.trim() }, remove: { remove: true } }
      resolve(answers[dialog.returnValue] ?? null)
      dialog.remove()
    })
    dialog.showModal()
    field.focus()
  })
}

function toast(severity, detail) {
  app.extensionManager.toast.add({ severity, summary: words().title, detail, life: 6000 })
}

app.registerExtension({
  name: 'LivePortraitV2V.SegmindKey',
  commands: [
    {
      id: 'LivePortraitV2V.SetSegmindKey',
      label: 'Set Segmind API key',
      icon: 'pi pi-key',
      function: async () => {
        if (document.getElementById('lpv2v-segmind-key')) return
        try {
          const answer = await ask(await send({}))
          if (!answer) return
          await send(answer)
          toast('success', answer.remove ? words().removed : words().saved)
        } catch (error) {
          toast('error', error.message)
        }
      }
    }
  ],
  menuCommands: [
    { path: ['Extensions', 'LivePortrait'], commands: ['LivePortraitV2V.SetSegmindKey'] }
  ]
})
