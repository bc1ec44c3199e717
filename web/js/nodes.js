// Sizes, presets and the look at a file: what a schema can't say about the nodes.

import { api } from '../../../scripts/api.js'
import { app } from '../../../scripts/app.js'
import { show, shownBy } from './report.js'

// Width and height of a new node, at least.
const SIZES = { LPV2V_LoadVideo: [350, 0], LPV2V_PreviewFaces: [460, 500] }

// A preset writes its values into the widgets; a widget that is changed afterwards ends the preset.
function watchPresets(node, presets) {
  const widget = (name) => node.widgets.find((other) => other.name === name)
  const chosen = widget('preset')
  let writing = false
  after(chosen, () => {
    writing = true
    for (const [name, value] of Object.entries(presets[chosen.value] ?? {})) widget(name).value = value
    writing = false
    node.setDirtyCanvas(true, true)
  })
  for (const other of node.widgets) {
    if (other === chosen) continue
    after(other, () => {
      const value = presets[chosen.value]?.[other.name]
      if (!writing && value !== undefined && other.value !== value) chosen.value = 'none'
    })
  }
}

// What a node will find before it runs, as the route says of the values of these widgets.
function watch(node, route, names) {
  let waiting
  const look = () => {
    clearTimeout(waiting)
    waiting = setTimeout(async () => {
      const asked = Object.fromEntries(
        node.widgets
          .filter((widget) => names.includes(widget.name))
          .map(({ name, value }) => [name, value && typeof value === 'object' ? JSON.stringify(value) : value])
      )
      if (Object.values(asked).every((value) => value != null && value !== '')) await ask(asked)
    }, 300)
  }
  const ask = async (asked) => {
    const answer = await api.fetchApi(`/liveportrait-v2v/${route}?${new URLSearchParams(asked)}`)
    if (!answer.ok) return
    const { text, error } = await answer.json()
    if (text || shownBy(node)) show(node, text, error)
  }
  for (const widget of node.widgets) if (names.includes(widget.name)) after(widget, look)
  const configured = node.onConfigure
  node.onConfigure = function (...given) {
    configured?.apply(this, given)
    look()
  }
  look()
}

// Graphs saved on cores without the widget `edit` have the value of the upload button at its place.
function mendEdit(node) {
  const edit = node.widgets.find((widget) => widget.name === 'edit')
  if (!edit) return
  const whole = JSON.stringify(edit.value)
  const configured = node.onConfigure
  node.onConfigure = function (...given) {
    configured?.apply(this, given)
    if (typeof edit.value !== 'object') edit.value = JSON.parse(whole)
  }
}

const OF_FILE = [
  'file',
  'frame_load_cap',
  'skip_first_frames',
  'select_every_nth',
  'force_rate',
  'max_side',
  'edit'
]

// The price of a job above the node, in core's wording; front ends show badges of nodes in both renderers.
async function showPrice(node) {
  const answer = await api.fetchApi('/liveportrait-v2v/segmind-price')
  if (!answer.ok || !window.LGraphBadge || !node.badges) return
  const { usd } = await answer.json()
  const badge = new window.LGraphBadge({ text: `~$${usd.toFixed(2)}/Run`, fgColor: '#fff', bgColor: '#8d6932' })
  node.badges.push(() => badge)
  node.setDirtyCanvas(true, true)
}

function after(widget, action) {
  const before = widget.callback
  widget.callback = function (...given) {
    const result = before?.apply(this, given)
    action()
    return result
  }
}

app.registerExtension({
  name: 'LivePortraitV2V.Nodes',
  nodeCreated(node) {
    const size = SIZES[node.comfyClass]
    if (size) node.setSize([Math.max(node.size[0], size[0]), Math.max(node.size[1], size[1])])
    if (node.comfyClass === 'LPV2V_LoadVideo') {
      mendEdit(node)
      watch(node, 'clip', OF_FILE)
    }
    if (node.comfyClass === 'LPV2V_LoadModel') watch(node, 'weights', ['weights', 'download', 'model_type'])
    if (node.comfyClass === 'LPV2V_AnimateSegmind') showPrice(node)
    if (node.comfyClass === 'LPV2V_Settings') {
      // It has one legal value, and its place among the values of saved graphs.
      const base64 = node.widgets.find((widget) => widget.name === 'base64')
      base64.hidden = base64.options.hidden = true
      watchPresets(node, node.constructor.nodeData.input.required.preset[1].lpv2v_presets)
    }
  }
})
