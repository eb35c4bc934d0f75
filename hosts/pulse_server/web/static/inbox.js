"use strict";
// The alerts inbox by keyboard, and a selection that outlives the list's being read anew. Without this file the check
// boxes and the buttons do all of it.
(() => {
  const OFF = "pulse-keys-off";
  const AT = "pulse-inbox-at";
  const one = (id) => document.getElementById(id);
  const rows = () => [...document.querySelectorAll(".inbox [data-alert]")];
  const boxes = () => [...document.querySelectorAll(".inbox input[name=alert_ids]")];
  const [bulk, all, help, keysOn] = ["bulk", "all", "help", "keys-on"].map(one);
  const chosen = new Set();
  let openedFrom = null;

  function kept(store, name) {
    try { return store.getItem(name); } catch { return null; }  // a browser may forbid it
  }
  function keep(store, name, value) {
    try { if (value === null) store.removeItem(name); else store.setItem(name, value); } catch { /* then it is not kept */ }
  }

  function tell() {
    const there = boxes();
    const count = there.filter((box) => box.checked).length;
    one("chosen").textContent = count === 0 ? "Nothing selected" : `${count} selected`;
    bulk.toggleAttribute("data-nothing", count === 0);
    all.checked = count > 0 && count === there.length;
    all.indeterminate = count > 0 && count < there.length;
    all.disabled = there.length === 0;
  }
  function remember() {
    chosen.clear();
    for (const box of boxes()) if (box.checked) chosen.add(box.value);
    tell();
  }
  // What is no longer on the page is no longer selected: nobody acts on what they do not see.
  function restore() {
    for (const box of boxes()) box.checked = chosen.has(box.value);
    remember();
  }
  if (bulk) {
    one("all-label").hidden = false;
    document.addEventListener("change", (event) => {
      if (event.target === all) for (const box of boxes()) box.checked = all.checked;
      if (event.target === all || event.target.name === "alert_ids") remember();
    });
    document.body.addEventListener("htmx:afterSwap", restore);
    window.addEventListener("pageshow", remember);
    remember();
  }

  function at() {
    return rows().findIndex((row) => row.contains(document.activeElement));
  }
  function title(row) {
    return row.querySelector(".row-title");
  }
  function go(step) {
    const there = rows();
    const from = at();
    const next = from < 0 ? (step > 0 ? 0 : there.length - 1) : Math.min(there.length - 1, Math.max(0, from + step));
    if (there.length) title(there[next]).focus();
  }
  function box() {
    const row = rows()[at()];
    return row ? row.querySelector("input[name=alert_ids]") : null;
  }
  function select() {
    const here = box();
    if (here) here.click();
  }
  function acknowledge() {
    const here = box();
    if (!bulk || (chosen.size === 0 && !here)) return;
    if (chosen.size === 0) here.click();
    keep(sessionStorage, AT, String(Math.max(0, at())));
    bulk.requestSubmit(one("acknowledge"));
  }
  function open() {
    const row = rows()[at()];
    if (row) title(row).click();
  }
  function explain() {
    openedFrom = document.activeElement;
    keysOn.checked = kept(localStorage, OFF) === null;
    help.showModal();
  }

  const deeds = { j: () => go(1), k: () => go(-1), o: open, x: select, a: acknowledge, "?": explain };
  function types(target) {
    return target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox], [type=button], [type=submit])");
  }
  document.addEventListener("keydown", (event) => {
    const deed = Object.hasOwn(deeds, event.key) ? deeds[event.key] : null;
    if (deed === null || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (help.open || types(event.target) || kept(localStorage, OFF) !== null) return;
    if (event.repeat && event.key !== "j" && event.key !== "k") return;
    event.preventDefault();
    deed();
  });
  one("keys").hidden = false;
  one("keys").addEventListener("click", explain);
  keysOn.addEventListener("change", () => keep(localStorage, OFF, keysOn.checked ? null : "1"));
  // The browser gives the focus back, unless the list was read anew behind the dialog: then it is found by the id.
  help.addEventListener("close", () => {
    const back = openedFrom && openedFrom.id ? one(openedFrom.id) : null;
    const lost = document.activeElement === document.body || help.contains(document.activeElement);
    if (back && lost) back.focus();
  });

  const before = kept(sessionStorage, AT);
  keep(sessionStorage, AT, null);
  if (before !== null && rows().length) title(rows()[Math.min(Number(before), rows().length - 1)]).focus();
})();
