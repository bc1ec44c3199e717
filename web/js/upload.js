// Files that come to a loader another way than by core's button.

import { api } from '../../../scripts/api.js'

// Upload a file into the input folder; the answer's JSON has its name, numbered if that was taken.
export function upload(file) {
  const body = new FormData()
  body.append('image', file)
  return api.fetchApi('/upload/image', { method: 'POST', body })
}

// Choose a file that the node's list may not have yet.
export function choose(node, name) {
  const file = node.widgets.find((widget) => widget.name === 'file')
  const before = file.value
  if (!file.options.values.includes(name)) file.options.values.push(name)
  file.value = name
  file.callback?.(name)
  node.onWidgetChanged?.(file.name, name, before, file)
  node.setDirtyCanvas(true, true)
}
