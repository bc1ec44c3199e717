// Which rows of widgets the canvas shows, and in which order. Nodes 2.0 folds advanced inputs away by itself, in ComfyUI
// 0.17 those whose widgets say so.
//
// Saved graphs hold values by the widgets' order in the node, which stays as it is: only the rows move.

import { app } from '../../../scripts/app.js'
import { after } from './hooks.js'
import { inLanguage } from './language.js'

// What people use first; other widgets follow in the order of the schema.
const FIRST = {
  LPV2V_LoadVideo: ['file', 'upload'],
  LPV2V_Settings: [
    'preset',
    'video_frame_load_cap',
    'driving_audio',
    'input_face_index',
    'drive_face_index',
    'mismatch_method',
    'relative',
    'lip_zero',
    'lip_retargeting',
    'eye_retargeting',
    'scale'
  ],
  LPV2V_AnimateSegmind: ['seed', 'max_cost', 'max_cost_per_day', 'source_url', 'driving_url', 'source_fps', 'frames']
}

// In the words of Nodes 2.0.
const SHOW = { en: 'Show advanced inputs', zh: '显示高级输入', ja: '詳細入力を表示' }
const HIDE = { en: 'Hide advanced inputs', zh: '隐藏高级输入', ja: '詳細入力を非表示' }

// Where the sockets of rows that are not shown lie: out of reach, as links would end at them unseen.
const AWAY = -100000

const isLinked = (node, widget) =>
  node.inputs?.some((input) => input.widget?.name === widget.name && input.link != null) ?? false

// Put the rows of a new node in their order, and its advanced ones behind a button.
export function arrangeRows(node) {
  if (!node.getLayoutWidgets || !node.toggleAdvanced) return
  const advanced = (node.widgets ?? []).filter((widget) => widget.options?.advanced)
  const alwaysShown = app.extensionManager.setting?.get('Comfy.Node.AlwaysShowAdvancedWidgets')
  // A button in place of a single row saves nothing.
  const folded = advanced.length > 1 && !alwaysShown ? advanced : []
  const button = folded.length ? addButton(node, folded) : undefined
  const first = FIRST[node.comfyClass] ?? []
  if (!folded.length && !first.length) return
  const isInput = (widget) => Object.hasOwn(node.constructor.nodeData?.inputs ?? {}, widget.name) && !widget.element
  const rank = (widget) => {
    if (folded.includes(widget)) return 2
    if (widget === button) return 1
    return first.includes(widget.name) || isInput(widget) ? 0 : 3
  }
  const place = (widget) => (first.includes(widget.name) ? first.indexOf(widget.name) : first.length)
  const listed = node.getLayoutWidgets
  node.getLayoutWidgets = function () {
    const rows = listed
      .call(this)
      .filter((widget) => this.showAdvanced || !folded.includes(widget) || isLinked(this, widget))
      .sort((one, other) => rank(one) - rank(other) || place(one) - place(other))
    for (const widget of this.widgets) if (!rows.includes(widget)) widget.y = AWAY
    if (button) button.label = inLanguage(this.showAdvanced ? HIDE : SHOW)
    return rows
  }
  if (folded.length) node.setSize([node.size[0], node.computeSize()[1]])
}

// The button that shows and hides rows; graphs keep its state with the node.
function addButton(node, folded) {
  // The canvas takes no notice of the schema's `advanced`, but of the widget's. A linked row is always shown.
  const mark = () => {
    for (const widget of folded) widget.advanced = !isLinked(node, widget)
  }
  after(node, 'onConnectionsChange', mark)
  after(node, 'onConfigure', mark)
  mark()
  const toggle = () => {
    const [width, height] = node.size
    const before = node.computeSize()[1]
    node.toggleAdvanced()
    const needed = node.computeSize()[1]
    node.setSize([width, Math.max(needed, height + needed - before)])
  }
  const button = node.addWidget('button', 'lpv2v_advanced', null, toggle, { serialize: false, canvasOnly: true })
  button.serialize = false
  return button
}
