"use strict";
// Reads again what a page shows, when the server says that something of that kind has changed: once a second at most,
// and not while nobody looks. Without this file every page still says everything.
(() => {
  const EVERY_MS = 1000;
  const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const live = () => document.getElementById("live");
  let waiting = null;
  let last = 0;
  let missed = false;

  function localTimes(within) {
    for (const time of within.querySelectorAll("time[datetime]")) time.title = zone.format(new Date(time.dateTime));
  }

  function refresh() {
    waiting = null;
    if (document.hidden) { missed = true; return; }
    missed = false;
    last = Date.now();
    htmx.trigger(live(), "pulse:changed");
  }
  function soon() {
    if (waiting === null) waiting = setTimeout(refresh, Math.max(0, last + EVERY_MS - Date.now()));
  }

  localTimes(document);
  if (!window.htmx || !live()) return;
  const kinds = live().dataset.live.split(" ");
  document.addEventListener("visibilitychange", () => { if (!document.hidden && missed) soon(); });
  document.body.addEventListener("htmx:afterSettle", () => localTimes(document));
  // Whatever else than this page comes (one has to log in again) is not put into it, but gone to.
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const from = new URL(event.detail.xhr.responseURL || location.href);
    if (from.pathname !== location.pathname) { event.detail.shouldSwap = false; location.reload(); }
  });

  const stream = new EventSource("/customer/events");
  const said = document.getElementById("stream");
  stream.addEventListener("ready", () => { said.textContent = "Updates by itself"; });
  stream.addEventListener("resync", () => { said.textContent = "Updates by itself"; soon(); });
  stream.addEventListener("changed", (event) => {
    if (kinds.some((kind) => kind in JSON.parse(event.data))) soon();
  });
  stream.addEventListener("error", () => { said.textContent = "Not up to date: trying to connect again"; });
  window.addEventListener("pagehide", () => stream.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
