"use strict";
// Asks for /live/data.json every second and shows it. Every text is set as text, never as markup.
(() => {
  const EVERY_MS = 1000;
  const KIND = {
    ONLINE: "good", STALE: "bad", UNKNOWN: "calm", REVOKED: "calm",
    OPEN: "bad", ACKNOWLEDGED: "warn", CLOSED: "good",
    CRITICAL: "bad", MAJOR: "bad", WARNING: "warn", NOTICE: "busy", INFO: "calm",
    DELIVERED: "good", PENDING: "busy", SENDING: "busy", RETRYING: "warn", DEAD: "bad", CANCELLED: "calm",
    verified: "good", invalid: "bad", ready: "good",
  };
  const byId = (id) => document.getElementById(id);
  const rates = [];

  function element(tag, className, ...inside) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...inside.filter((part) => part !== null && part !== undefined).map((part) => part instanceof Node ? part : String(part)));
    return made;
  }
  const pill = (word, kind) => element("span", `pill ${kind || KIND[word] || "calm"}`, word);
  const cell = (content, className, under) => element("td", className, content, under ? element("span", "under", under) : null);
  const mono = (text) => element("span", "mono", text);

  function ago(iso, now) {
    if (!iso) return "never";
    const s = Math.max(0, Math.round((now - Date.parse(iso)) / 1000));
    if (s < 90) return `${s} s ago`;
    if (s < 5400) return `${Math.round(s / 60)} min ago`;
    return `${Math.round(s / 3600)} h ago`;
  }
  const clock = (iso) => iso ? new Date(iso).toLocaleTimeString([], { hour12: false }) : "–";

  // Keeps rows whose content has not changed, so that a selection or a focus survives the update.
  function sync(body, items, keyOf, cellsOf) {
    const first = !body.dataset.filled;
    const old = new Map([...body.children].map((row) => [row.dataset.key, row]));
    const rows = items.map((item) => {
      const key = keyOf(item);
      const row = element("tr", "", ...cellsOf(item));
      row.dataset.key = key;
      const before = old.get(key);
      if (!before) { if (!first) row.className = "new"; return row; }
      if (before.textContent !== row.textContent) before.replaceChildren(...row.children);
      return before;
    });
    if (!rows.length) {
      const empty = element("td", "", body.dataset.empty);
      empty.colSpan = 7;
      const row = element("tr", "empty", empty);
      row.dataset.key = "";
      rows.push(row);
    } else {
      body.dataset.filled = "1";
    }
    if (rows.length !== body.children.length || rows.some((row, i) => body.children[i] !== row)) body.replaceChildren(...rows);
  }

  function text(id, value) {
    const node = byId(id);
    if (node.textContent !== String(value)) node.textContent = value;
  }

  function pills(id, entries) {
    const wanted = entries.map(([word, kind]) => element("li", "", pill(word, kind)));
    const list = byId(id);
    if (list.textContent !== wanted.map((node) => node.textContent).join("")) list.replaceChildren(...wanted);
  }

  function spark(rate) {
    rates.push(rate);
    if (rates.length > 60) rates.shift();
    const top = Math.max(1, ...rates);
    const points = rates.map((value, i) => `${(i + 60 - rates.length) * 2},${(26 - 24 * value / top).toFixed(1)}`);
    byId("spark").firstElementChild.setAttribute("points", points.join(" "));
  }

  function show(data) {
    const now = Date.parse(data.now);
    const counts = data.devices.counts;
    text("devices-total", Object.values(counts).reduce((sum, n) => sum + n, 0));
    pills("devices-split", Object.entries(counts).filter(([, n]) => n).map(([status, n]) => [`${n} ${status}`, KIND[status]]));
    text("alerts-open", data.alerts.open);
    text("alerts-note", data.alerts.open ? "being delivered to each tenant's webhook" : "all is calm");
    text("rate", data.messages.accepted_per_s.toFixed(1));
    text("rate-note", `${data.messages.rejected_per_s.toFixed(1)} refused a second (some devices misbehave on purpose)`);
    spark(data.messages.accepted_per_s);
    text("webhooks-total", data.webhooks.received);
    text("webhooks-note", data.webhooks.invalid ? `${data.webhooks.invalid} with a bad signature` : "every signature verified");
    pills("roles", data.roles.map((role) => [`${role.name}: ${role.state}`, role.state === "ready" ? "good" : "warn"]));

    sync(byId("alerts"), data.alerts.items, (a) => a.alert_id, (a) => [
      cell(pill(a.status), "tight"), cell(pill(a.severity_name), "tight wide"),
      cell(a.device_id, "", `${a.tenant_id} · ${a.site_id}`), cell(mono(a.alert_type), "wide"), cell(a.summary, "wide"),
      cell(clock(a.opened_at), "tight"), cell(clock(a.closed_at), "tight wide")]);
    sync(byId("deliveries"), data.deliveries.items, (d) => d.delivery_id, (d) => [
      cell(pill(d.status), "tight"), cell(d.event, "tight"), cell(d.device_id || "–", "", d.tenant_id),
      cell(d.attempts, "tight", d.last_error), cell(d.integration, "wide"), cell(clock(d.created_at), "tight wide"),
      cell(d.last_attempt, "wide")]);
    sync(byId("webhooks"), data.webhooks.items, (w) => `${w.webhook_id} ${w.received_at}`, (w) => [
      cell(pill(w.verified ? "verified" : "invalid"), "tight", w.problem), cell(w.event || "–", "tight"),
      cell(w.device_id || "–", "", w.tenant_id), cell(w.summary, "wide"), cell(clock(w.received_at), "tight"),
      cell(mono(w.webhook_id || "–"), "wide")]);
    sync(byId("devices"), data.devices.items, (d) => `${d.tenant_id}/${d.device_id}`, (d) => [
      cell(pill(d.status), "tight"), cell(d.device_id, "", d.name), cell(d.tenant_id, "wide"), cell(d.site_id, "wide"),
      cell(ago(d.last_seen_at, now), "tight"), cell(d.source || "–", "wide")]);
  }

  async function update() {
    const notice = byId("notice");
    try {
      const answer = await fetch("/live/data.json", { cache: "no-store", signal: AbortSignal.timeout(8000) });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      show(await answer.json());
      notice.hidden = true;
    } catch (error) {
      notice.textContent = `Not up to date: ${error.message}. Trying again.`;
      notice.hidden = false;
    }
    setTimeout(update, EVERY_MS);
  }
  update();
})();
