// What is linked to a node, through reroutes and subgraphs.

import { app } from '../../../scripts/app.js'

// Origin of the links from a subgraph's own inputs; a number in some front ends, a text in others.
const SUBGRAPH_INPUT = '-10'

const linkOf = (graph, id) => graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id]

// The node that shows a subgraph, the first one of several.
function hostOf(subgraph, graph = app.rootGraph ?? app.graph) {
  for (const node of graph.nodes) {
    if (!node.subgraph) continue
    const found = node.subgraph === subgraph ? node : hostOf(subgraph, node.subgraph)
    if (found) return found
  }
}

// The node whose output reaches an input, through reroutes and in and out of subgraphs; undefined for none.
export function originOf(node, input) {
  let graph = node.graph
  let id = input?.link
  for (let steps = 0; id != null && graph && steps < 100; steps++) {
    const link = linkOf(graph, id)
    if (!link) return
    if (String(link.origin_id) === SUBGRAPH_INPUT) {
      const host = hostOf(graph)
      const outside = host?.inputs[link.origin_slot]
      if (outside?.link == null) return { host, input: outside }
      graph = host.graph
      id = outside.link
      continue
    }
    const from = graph.getNodeById(link.origin_id)
    if (from?.subgraph) {
      graph = from.subgraph
      id = graph.outputs[link.origin_slot]?.linkIds[0]
    } else if (from?.type === 'Reroute') {
      id = from.inputs[0]?.link
    } else {
      return { node: from }
    }
  }
}

// A widget's value, or of what is linked to it: a widget on the outside of the subgraph, or a primitive node.
export function valueOf(node, widget) {
  const input = node.inputs?.find((other) => other.widget?.name === widget.name)
  if (input?.link == null) return widget.value
  const origin = originOf(node, input)
  const outside = origin?.host?.widgets?.find((other) => other.name === origin.input?.name)
  if (outside) return outside.value
  return origin?.node?.widgets?.[0]?.value ?? widget.value
}

// The node that is linked to an input of this name.
export const originAt = (node, name) => originOf(node, node.inputs?.find((input) => input.name === name))?.node

// The values of a node's widgets, as one text.
export const valuesOf = (node) => JSON.stringify((node.widgets ?? []).map((widget) => valueOf(node, widget)))
