// A refresh puts new elements in the place of old ones. What somebody has opened stays open, and where the keyboard is it stays.
(() => {
  if (window.otelTtsKept) return
  window.otelTtsKept = true
  const opened = new Set()
  let focused = ""
  document.addEventListener("toggle", ({ target }) => {
    const name = target.dataset?.name
    if (name) target.open ? opened.add(name) : opened.delete(name)
  }, true)
  document.addEventListener("focusin", ({ target }) => { focused = target.dataset?.name ?? "" })
  document.addEventListener("focusout", ({ target }) => {
    setTimeout(() => { if (target.isConnected && document.activeElement === document.body) focused = "" })
  })
  new MutationObserver(() => {
    for (const details of document.querySelectorAll("details[data-name]:not([open])")) {
      if (opened.has(details.dataset.name)) details.open = true
    }
    if (focused && document.activeElement === document.body) {
      document.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true })
    }
  }).observe(document.body, { childList: true, subtree: true })
})()
