// Sizes, presets and the look at a file: what a schema can't say about the nodes.

import { api } from '../../../scripts/api.js'
import { app } from '../../../scripts/app.js'
import { after } from './hooks.js'
import { fetchShown, inLanguage } from './language.js'
import { remove, show, shownBy } from './report.js'
import { arrangeRows } from './rows.js'
import { choose, upload } from './upload.js'

// Width and height of a new node, at least.
const SIZES = {
  LPV2V_LoadVideo: [350, 0],
  LPV2V_PreviewFaces: [460, 500],
  // Choices in Chinese and Japanese fit into these.
  LPV2V_Settings: [360, 0],
  LPV2V_MotionOptions: [340, 0],
  // What is missing of the weights, and their titles in Japanese, fit into these.
  LPV2V_LoadModel: [350, 0],
  LPV2V_CropFaces: [280, 0],
  LPV2V_PasteBack: [280, 0],
  LPV2V_Expression: [360, 860],
  LPV2V_ExpressionKeyframes: [360, 430]
}

// A preset writes its values into the widgets; a widget that is changed afterwards ends the preset.
function watchPresets(node, presets) {
  const widget = (name) => node.widgets.find((other) => other.name === name)
  const chosen = widget('preset')
  let writing = false
  after(chosen, 'callback', () => {
    writing = true
    for (const [name, value] of Object.entries(presets[chosen.value] ?? {})) widget(name).value = value
    writing = false
    node.setDirtyCanvas(true, true)
  })
  for (const other of node.widgets) {
    if (other === chosen) continue
    after(other, 'callback', () => {
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
    const answer = await fetchShown(`/liveportrait-v2v/${route}?${new URLSearchParams(asked)}`)
    if (!answer.ok) return
    const { text, error } = await answer.json()
    if (text || shownBy(node)) show(node, text, error)
  }
  for (const widget of node.widgets) if (names.includes(widget.name)) after(widget, 'callback', look)
  after(node, 'onConfigure', look)
  look()
}

// Graphs saved on cores without the widget `edit` have the value of the upload button at its place.
function mendEdit(node) {
  const edit = node.widgets.find((widget) => widget.name === 'edit')
  if (!edit) return
  const whole = JSON.stringify(edit.value)
  after(node, 'onConfigure', () => {
    if (typeof edit.value !== 'object') edit.value = JSON.parse(whole)
  })
}

const PICTURE = /\.(png|jpe?g|webp|gif|bmp|avif|tiff?)( \[\w+\])?$/i

// Front ends show the file of a node with a video upload in a player, which fails with pictures.
function showPictures(node) {
  const file = node.widgets.find((widget) => widget.name === 'file')
  const prepare = () => {
    const isPicture = PICTURE.test(file.value)
    node.previewMediaType = isPicture ? 'image' : 'video'
    if (isPicture) node.videoContainer = undefined
    const other = node.widgets.find(({ name }) => name === (isPicture ? 'video-preview' : '$$canvas-image-preview'))
    if (other) remove(node, other)
  }
  const shown = file.callback
  file.callback = function (...given) {
    prepare()
    return shown?.apply(this, given)
  }
  after(node, 'onConfigure', prepare)
  prepare()
}

// The front end's upload takes videos alone: a picture that is dropped on the node goes the same way.
function takePictures(node) {
  const dropped = node.onDragDrop
  const take = async (picture) => {
    const answer = await upload(picture)
    if (answer.ok) choose(node, (await answer.json()).name)
    else {
      const summary = `${picture.name}: ${answer.status} ${answer.statusText}`
      app.extensionManager.toast.add({ severity: 'error', summary, life: 20000 })
    }
  }
  node.onDragDrop = function (event) {
    const picture = [...(event.dataTransfer?.files ?? [])].find(({ type }) => type.startsWith('image/'))
    if (!picture) return dropped?.call(this, event)
    take(picture)
    return true
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

// Core's upload buttons take pictures, sounds and videos only.
function addUpload(node, endings) {
  const take = async (chosen) => {
    const answer = await upload(chosen)
    if (answer.ok) choose(node, (await answer.json()).name)
    else show(node, `${inLanguage(REFUSED)}${chosen.name}: ${answer.status} ${answer.statusText}`, true)
  }
  const fits = ({ name }) => endings.some((ending) => name.toLowerCase().endsWith(ending))
  const dialog = Object.assign(document.createElement('input'), { type: 'file', accept: endings.join(',') })
  dialog.onchange = () => {
    if (dialog.files.length) take(dialog.files[0])
    dialog.value = ''
  }
  const button = node.addWidget('button', inLanguage(UPLOAD), null, () => dialog.click())
  button.serialize = false
  node.onDragOver = ({ dataTransfer }) => [...dataTransfer.items].some((item) => item.kind === 'file')
  node.onDragDrop = ({ dataTransfer }) => {
    const chosen = [...dataTransfer.files].find(fits)
    if (chosen) take(chosen)
    return Boolean(chosen)
  }
}

const UPLOAD = { en: 'choose file to upload', zh: '选择要上传的文件', ja: 'アップロードするファイルを選択' }
const REFUSED = { en: 'The file could not be uploaded: ', zh: '文件上传失败：', ja: 'アップロードできませんでした：' }

// The price of a job above the node, in core's wording; front ends show badges of nodes in both renderers.
async function showPrice(node) {
  const answer = await api.fetchApi('/liveportrait-v2v/segmind-price')
  if (!answer.ok || !window.LGraphBadge || !node.badges) return
  const { usd } = await answer.json()
  const badge = new window.LGraphBadge({ text: `~$${usd.toFixed(2)}/Run`, fgColor: '#fff', bgColor: '#8d6932' })
  node.badges.push(() => badge)
  node.setDirtyCanvas(true, true)
}

// The front end's editor of trim and crop is 700 pixels high: its table of facts is in the node's line already, and the
// four numbers of the crop fit into two rows. Names of files are drawn larger than other values, beside an empty column, and cut.
// In Nodes 2.0 of ComfyUI 0.17, the lower half of "Show advanced inputs" is cut.
const STYLE = `
[data-node-id]:has(.lpv2v-recorder) .lg-node-widget .border-t.col-span-full { display: none }
[data-node-id]:has(.lpv2v-recorder) .lg-node-widget .grid.gap-x-2.gap-y-1.col-span-full {
  grid-template-columns: auto 1fr auto 1fr }
[data-node-id]:has(.lpv2v-recorder) .justify-between.grid-cols-subgrid:has(.text-base) { display: flex; align-items: center }
[data-node-id]:has(.lpv2v-recorder) .lg-node-widget .text-base button { font-size: 12px }
[data-node-id] .-mt-5.h-7:has(> button.pt-7) { height: 48px }
`

app.registerExtension({
  name: 'LivePortraitV2V.Nodes',
  setup() {
    document.head.append(Object.assign(document.createElement('style'), { textContent: STYLE }))
  },
  nodeCreated(node) {
    if (node.comfyClass?.startsWith('LPV2V_')) arrangeRows(node)
    const size = SIZES[node.comfyClass]
    if (size) node.setSize([Math.max(node.size[0], size[0]), Math.max(node.size[1], size[1])])
    if (node.comfyClass === 'LPV2V_LoadVideo') {
      mendEdit(node)
      showPictures(node)
      takePictures(node)
      watch(node, 'clip', OF_FILE)
    }
    if (node.comfyClass === 'LPV2V_LoadMotion') addUpload(node, ['.safetensors', '.pkl'])
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
