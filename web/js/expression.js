// The live face on Expression: the server draws it anew while a slider moves, without a run.

import { api } from '../../../scripts/api.js'
import { app } from '../../../scripts/app.js'
import { originAt, originOf, valueOf, valuesOf } from './graph.js'
import { after } from './hooks.js'
import { fetchShown, inLanguage } from './language.js'
import { nodeOf } from './report.js'

const TYPE = 'LPV2V_FACE_VIEW'
const NODE = 'LPV2V_Expression'
const ROUTE = '/liveportrait-v2v/face'
// What else changes it is looked for this often: linked nodes, undo, widgets on the outside of a subgraph.
const LOOK_MS = 250
const HEIGHT = 190
// Inputs of Expression that say nothing of the expression.
const BESIDE = ['face', 'time', 'view']
const RETRY_MS = 3000
const EXPRESSION = ['LPV2V_Expression', 'LPV2V_ExpressionKeyframes', 'LPV2V_LoadExpression']
// The widget of a loader that names a file.
const FILES = ['file', 'image']

const WORDS = {
  en: {
    link: 'Link a picture or video to clip: its face is shown here.',
    run: 'Run once to see the face.',
    looking: 'Looking for the face…',
    face: 'The face with this expression'
  },
  zh: {
    link: '将图片或视频连接到「视频或图像」，此处即显示其面部。',
    run: '运行一次即可看到面部。',
    looking: '正在寻找面部……',
    face: '带有此表情的面部'
  },
  ja: {
    link: '画像またはビデオを「ビデオまたは画像」に接続すると、ここに顔が表示されます。',
    run: '一度実行すると顔が表示されます。',
    looking: '顔を探しています…',
    face: 'この表情の顔'
  }
}

// A node of an expression and those linked to it, as the server computes them.
function expressionOf(node, depth = 0) {
  const { required, optional } = node.constructor.nodeData.input
  const values = {}
  for (const widget of node.widgets ?? []) {
    const known = widget.name in { ...required, ...optional }
    if (known && !BESIDE.includes(widget.name)) values[widget.name] = valueOf(node, widget)
  }
  const inputs = {}
  for (const input of node.inputs ?? []) {
    if (input.type !== 'LPV2V_EXPRESSION' || input.link == null || depth > 20) continue
    const from = originOf(node, input)?.node
    if (EXPRESSION.includes(from?.type)) inputs[input.name] = expressionOf(from, depth + 1)
  }
  return { type: node.type, values, inputs }
}

function release(url) {
  if (url?.startsWith('blob:')) URL.revokeObjectURL(url)
}

// Those of the nodes that are in a graph.
const faces = new Set()

class LiveFace {
  constructor(node, name) {
    this.node = node
    this.box = document.createElement('div')
    this.box.className = 'lpv2v-face'
    this.box.style.cssText =
      `position: relative; width: 100%; height: 100%; min-height: ${HEIGHT}px; overflow: hidden;` +
      'box-sizing: border-box; border-radius: 6px; background: var(--comfy-input-bg, #222)'
    this.picture = document.createElement('img')
    this.picture.draggable = false
    this.picture.hidden = true
    // Outside of the layout: a node is as high as it was made, whatever picture it shows.
    this.picture.style.cssText = 'position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain'
    this.line = document.createElement('div')
    this.line.style.cssText =
      'position: absolute; inset: auto 0 0 0; padding: 4px 8px; font-size: 11px; line-height: 16px;' +
      'overflow-wrap: anywhere; color: var(--input-text, #ddd); background: rgb(0 0 0 / 55%)'
    this.box.append(this.picture, this.line)
    this.widget = node.addDOMWidget(name, TYPE, this.box, {
      serialize: false,
      getValue: () => '',
      setValue: () => {},
      getMinHeight: () => HEIGHT
    })
    this.widget.serialize = false
    // A node that moves into a subgraph is removed and added again.
    const { onAdded, onRemoved } = node
    node.onAdded = (...given) => {
      faces.add(this)
      return onAdded?.apply(node, given)
    }
    node.onRemoved = (...given) => {
      this.end()
      return onRemoved?.apply(node, given)
    }
  }

  // What the server is asked for now, or what is in the way.
  asked() {
    const from = originAt(this.node, 'clip')
    if (!from) return { missing: inLanguage(WORDS).link }
    const state = valuesOf(from)
    const file = from.widgets?.find((widget) => FILES.includes(widget.name))
    const named = file && valueOf(from, file)
    // A run has seen the clip as the graph makes it; a file stands for it before.
    const clip =
      this.run && this.run.from === from.id && this.run.state === state
        ? { handle: this.run.handle }
        : typeof named === 'string' && named
          ? { file: named }
          : null
    if (!clip) return { missing: inLanguage(WORDS).run }
    const shown = (name) => this.node.widgets.find((widget) => widget.name === name)
    const face = valueOf(this.node, shown('face'))
    const time = valueOf(this.node, shown('time'))
    return { body: JSON.stringify({ ...clip, face, time, expression: expressionOf(this.node) }) }
  }

  // Draw what has changed. One request is on its way at a time; of those that come meanwhile, the last one counts.
  async look() {
    if (this.busy || !faces.has(this)) return
    const { missing, body } = this.asked()
    if (missing) {
      this.last = null
      this.say(missing)
      return
    }
    if (body === this.last) return
    this.busy = true
    this.last = body
    if (this.picture.hidden) this.say(inLanguage(WORDS).looking)
    try {
      await this.draw(body)
    } catch (error) {
      // The server is away; a refusal is no exception.
      this.say(error.message, true)
      setTimeout(() => (this.last = null), RETRY_MS)
    } finally {
      this.busy = false
    }
    this.look()
  }

  async draw(body) {
    const answer = await fetchShown(ROUTE, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body
    })
    if (answer.ok) return this.show(URL.createObjectURL(await answer.blob()))
    if (answer.status === 410) {
      // The server has let go of the run; its file stands for it, if there is one.
      this.run = null
      this.last = null
      return
    }
    const text = await answer.text()
    let message = text
    try {
      message = JSON.parse(text).error ?? text
    } catch {}
    this.say(message, true)
  }

  async show(url) {
    if (!faces.has(this)) return release(url)
    const before = this.url
    this.url = url
    this.picture.src = url
    await this.picture.decode().catch(() => {})
    release(before)
    this.picture.alt = inLanguage(WORDS).face
    this.picture.hidden = false
    this.say('')
  }

  say(text, isError = false) {
    this.line.textContent = text
    this.line.hidden = !text
    this.line.style.color = isError ? 'var(--p-red-400, #f87171)' : 'var(--input-text, #ddd)'
    this.box.dataset.error = isError
  }

  // A run has shown the face: its handle, and a file if the networks drew it.
  seen({ handle, file, values }) {
    const from = originAt(this.node, 'clip')
    if (!from) return
    const state = valuesOf(from)
    this.run = { handle, from: from.id, state }
    const now = expressionOf(this.node).values
    const same = Object.entries(values).every(([name, value]) => now[name] === value)
    if (file && same) {
      this.last = this.asked().body
      this.show(api.apiURL(`/view?${new URLSearchParams(file)}`))
    } else {
      this.look()
    }
  }

  end() {
    faces.delete(this)
    release(this.url)
    this.url = this.last = null
    this.picture.hidden = true
    this.picture.removeAttribute('src')
  }
}

app.registerExtension({
  name: 'LivePortraitV2V.Expression',
  getCustomWidgets() {
    return {
      [TYPE](node, name) {
        const live = new LiveFace(node, name)
        return { widget: live.widget }
      }
    }
  },
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return
    for (const widget of node.widgets) {
      after(widget, 'callback', () => {
        for (const live of faces) if (live.node === node) live.look()
      })
    }
  },
  setup() {
    setInterval(() => {
      if (!document.hidden) for (const live of faces) if (live.node.graph) live.look()
    }, LOOK_MS)
    api.addEventListener('executed', ({ detail }) => {
      const told = detail.output?.lpv2v_face
      if (!told) return
      const node = nodeOf(detail.display_node ?? detail.node)
      for (const live of faces) if (live.node === node) live.seen(told[0])
    })
  }
})
