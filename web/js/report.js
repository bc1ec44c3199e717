// A node's last report or error, kept on the node: front ends since 1.58 remove its line of text when the job ends.

import { api } from '../../../scripts/api.js'
import { app } from '../../../scripts/app.js'

const NAME = 'lpv2v_report'
const LINE = 16
const MAX_LINES = 12
// Width of a letter, and of a Chinese or Japanese one, at most.
const LETTER = 6.4
const WIDE_LETTER = 11.2
// Around the text: its own padding, and the front end's.
const MARGIN = 26

// The node of an execution id: "5", or "5:3" for a node inside of subgraph node 5.
export function nodeOf(id) {
  let graph = app.rootGraph ?? app.graph
  let node
  for (const part of String(id).split(':')) {
    node = graph?.getNodeById(Number(part)) ?? graph?.getNodeById(part)
    graph = node?.subgraph
  }
  return node
}

// The widget of a node's report, if it has shown one.
export function shownBy(node) {
  return node.widgets?.find((widget) => widget.name === NAME)
}

function widgetOf(node) {
  const known = shownBy(node)
  if (known) return known
  const box = document.createElement('div')
  box.className = 'lpv2v-report'
  box.style.cssText =
    'font-size: 11px; line-height: 16px; white-space: pre-wrap; overflow-wrap: anywhere; overflow-y: auto;' +
    'user-select: text; padding: 2px 6px; color: var(--input-text, #ddd); box-sizing: border-box; height: 100%'
  // Selecting text must not drag the node.
  box.addEventListener('pointerdown', (event) => event.stopPropagation())
  const height = () => LINE * (widget?.lines ?? 1) + MARGIN
  const widget = node.addDOMWidget(NAME, 'LPV2V_REPORT', box, {
    serialize: false,
    hideOnZoom: true,
    getValue: () => box.textContent,
    setValue: () => {},
    getMinHeight: height,
    getMaxHeight: height
  })
  widget.serialize = false
  return widget
}

function widthOf(line) {
  return [...line].reduce((sum, letter) => sum + (letter >= '\u2e80' ? WIDE_LETTER : LETTER), 0)
}

export function show(node, text, isError = false) {
  if (!node) return
  const widget = widgetOf(node)
  // Words don't break: lines hold a little less than fits.
  const width = Math.max(20 * LETTER, node.size[0] - 30)
  const lines = text.split('\n').reduce((sum, line) => sum + Math.max(1, Math.ceil(widthOf(line) / width)), 0)
  // Front ends before 1.58 leave the node's own line there, which the report begins with.
  const own = node.widgets.find((other) => other.name === '$$node-text-preview')
  if (own) remove(node, own)
  widget.lines = Math.min(lines, MAX_LINES)
  widget.element.textContent = text
  widget.element.style.color = isError ? 'var(--p-red-400, #f87171)' : 'var(--input-text, #ddd)'
  widget.element.dataset.error = isError
  const wanted = node.computeSize()[1]
  if (node.size[1] < wanted) node.setSize([node.size[0], wanted])
  node.setDirtyCanvas?.(true, true)
}

export function remove(node, widget) {
  widget.onRemove?.()
  node.widgets.splice(node.widgets.indexOf(widget), 1)
}

app.registerExtension({
  name: 'LivePortraitV2V.Report',
  setup() {
    api.addEventListener('executed', ({ detail }) => {
      const report = detail.output?.lpv2v_report
      if (report) show(nodeOf(detail.display_node ?? detail.node), report[0])
    })
    // An interrupt or an error, in the server's words; what goes on after it is said here too.
    api.addEventListener('lpv2v.report', ({ detail }) => show(nodeOf(detail.node), detail.text, detail.error))
    api.addEventListener('execution_error', ({ detail }) => {
      if (!detail.node_type?.startsWith('LPV2V_')) return
      const node = nodeOf(detail.node_id)
      app.extensionManager.toast.add({
        severity: 'error',
        summary: detail.exception_message.trim(),
        detail: node?.title ?? detail.node_type,
        life: 20000
      })
      if (detail.exception_type === 'LivePortraitKey') {
        app.extensionManager.command.execute('LivePortraitV2V.SetSegmindKey')
      }
    })
  }
})
