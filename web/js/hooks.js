// Methods of nodes and widgets that do something more.

// Have a method do something after what it does already.
export function after(object, method, action) {
  const before = object[method]
  object[method] = function (...given) {
    const result = before?.apply(this, given)
    action()
    return result
  }
}
