// Words of the user's language for what core doesn't translate: choices of lists, titles and notes of our templates.

import { app } from '../../../scripts/app.js'
import { inLanguage } from './language.js'

const HEADING = '## '
const NONE = { choices: {}, templates: {} }

let words = NONE
let loaded = ''

async function load() {
  const language = inLanguage({ en: '', zh: 'zh', ja: 'ja' })
  if (language === loaded) return
  const answer = language && (await fetch(new URL(`../words/${language}.json`, import.meta.url)))
  words = answer?.ok ? await answer.json() : NONE
  loaded = language
}

// What is stored stays English, and stands behind: settings, errors and help pages name a choice by it.
function label(name, value) {
  const shown = words.choices[name]?.[value]
  return shown ? `${shown} (${value})` : (value ?? '')
}

// A note in the user's language if all its lines are known: what a user wrote stays as it is.
function noteInLanguage(note) {
  const lines = note.split('\n').map((line) => {
    if (!line) return line
    const text = words.templates[line.replace(HEADING, '')]
    return text && `${line.startsWith(HEADING) ? HEADING : ''}${text}`
  })
  return lines.includes(undefined) ? note : lines.join('\n')
}

app.registerExtension({
  name: 'LivePortraitV2V.Words',
  setup: load,
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith('LPV2V_')) return
    for (const widget of node.widgets ?? []) {
      if (widget.type === 'combo' && widget.name !== 'file') {
        widget.options.getOptionLabel = (value) => label(widget.name, value)
      }
    }
  },
  async beforeConfigureGraph(graph) {
    if (!graph?.extra?.lpv2v_template) return
    await load()
    for (const node of graph.nodes) {
      if (words.templates[node.title]) node.title = words.templates[node.title]
      for (const input of node.inputs ?? []) {
        if (words.templates[input.label]) input.label = words.templates[input.label]
      }
      const note = node.widgets_values?.[0]
      if (node.type === 'MarkdownNote' && typeof note === 'string') node.widgets_values[0] = noteInLanguage(note)
    }
  }
})
