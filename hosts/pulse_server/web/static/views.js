"use strict";
// Reads again what a page shows when the server says that this has changed, no more often than the page wants, and not
// while nobody looks: a hidden tab gives its connection back, since browsers have but six for all tabs together.
// Without this file every page still says everything.
(() => {
  const AGAIN_MS = 10000;
  const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const live = () => document.getElementById("live");
  const said = document.getElementById("stream");
  let stream = null;
  let waiting = null;
  let last = Date.now();

  function localTimes() {
    for (const time of document.querySelectorAll("time[datetime]")) time.title = zone.format(new Date(time.dateTime));
  }

  function refresh() {
    waiting = null;
    last = Date.now();
    htmx.trigger(live(), "pulse:changed");
  }
  function soon() {
    if (waiting === null) waiting = setTimeout(refresh, Math.max(0, last + Number(live().dataset.every) - Date.now()));
  }

  // Operators are told by tenant; an id means nothing there without its tenant, so it counts as whichever.
  function byKind(told) {
    if (!told.tenants) return told;
    return Object.fromEntries(Object.values(told.tenants).flatMap((kinds) => Object.keys(kinds)).map((kind) => [kind, null]));
  }

  // What the page shows, by kind: the id of the one thing, or null for whichever. The server says ids, or null for many.
  function concerns(changed) {
    return Object.entries(JSON.parse(live().dataset.live)).some(([kind, id]) =>
      kind in changed && (id === null || changed[kind] === null || changed[kind].includes(id)));
  }

  function close() {
    if (stream !== null) stream.close();
    stream = null;
  }
  function open() {
    if (stream !== null || document.hidden) return;
    const opened = new EventSource(said.dataset.events);
    stream = opened;
    opened.addEventListener("ready", () => {
      said.textContent = "Updates by itself";
      if ("busy" in live().dataset) soon();
    });
    opened.addEventListener("resync", () => {
      said.textContent = "Updates by itself";
      document.dispatchEvent(new CustomEvent("pulse:again"));
      soon();
    });
    opened.addEventListener("changed", (event) => {
      const changed = byKind(JSON.parse(event.data));
      document.dispatchEvent(new CustomEvent("pulse:told", { detail: changed }));
      if (concerns(changed)) soon();
    });
    opened.addEventListener("error", () => {
      said.textContent = "Not up to date: trying to connect again";
      if (opened.readyState !== EventSource.CLOSED || stream !== opened) return;
      stream = null;  // it was refused, and the browser gives up
      setTimeout(resume, AGAIN_MS);
    });
  }
  function resume() {
    if (stream !== null || document.hidden) return;
    open();
    soon();
  }

  localTimes();
  if (!window.htmx || !live()) return;
  // What somebody has unfolded stays so.
  let unfolded = [];
  document.body.addEventListener("htmx:afterSettle", () => {
    localTimes();
    for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
  });
  // Whatever else than this page comes (one has to log in again) is not put into it, but gone to.
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    unfolded = Array.from(live().querySelectorAll("details[open][id]"), (each) => each.id);
    const from = new URL(event.detail.xhr.responseURL || location.href);
    if (from.pathname !== location.pathname) { event.detail.shouldSwap = false; location.reload(); }
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else resume(); });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => { if (event.persisted) resume(); });
  open();
})();
