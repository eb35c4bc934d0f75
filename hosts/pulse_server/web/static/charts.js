"use strict";
// Draws numbers over time into every section with data-series (templates/charts.html says how), with uPlot, and keeps
// them up to date by what the server tells (pulse:told). Every text is set as text. Without this file, or without
// uPlot, the section still says everything in captions and tables.
(() => {
  const SOON_MS = 500;
  const SLIDE_MS = 15000;
  const WHOLE_MS = 60000;
  const POINTS = 360;
  const AHEAD_S = 660;  // a device's clock may run ahead of ours
  const LEAST_PX = 8;
  const LINE_PX = 4;
  const HEIGHT = 180;
  const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  const INK = { refused: "bad", failed: "bad", opened: "warn", delivered: "good", second: "info" };
  const BAD = ["CRITICAL", "MAJOR"];
  const number = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 6 });
  const DAY_S = 86400;
  const BARS_FROM_S = 600;
  const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
  const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const second = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

  // Colours are variables that depend on the theme: only an element's own colour tells which one holds.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const ink = {};
  function mix() {
    for (const name of ["ink", "soft", "line", "card", "link", "info", "warn", "bad", "good"]) {
      probe.style.color = `var(--${name})`;
      ink[name] = getComputedStyle(probe).color;
    }
  }
  const faint = (colour, part) => colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${part})`);

  function told(value) {
    return value === null || value === undefined ? "–" : number.format(value);
  }

  // Times at the axis: the day where one begins, and where nothing smaller is told.
  function times(plot, splits, axis, space, step) {
    return splits.map((each) => {
      const at = new Date(each * 1000);
      if (step >= DAY_S || (at.getHours() === 0 && at.getMinutes() === 0 && at.getSeconds() === 0)) return day.format(at);
      return (step < 60 ? second : minute).format(at);
    });
  }

  function around(plot, low, high) {
    if (low === null || high === null) return [0, 1];
    const edge = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
    return [low - edge, high + edge];
  }

  // A line is broken where nothing came for much longer than usual.
  function gapped(at, lines) {
    const steps = at.slice(1).map((each, i) => each - at[i]).sort((a, b) => a - b);
    const most = steps.length ? 4 * steps[Math.floor(steps.length / 2)] : 0;
    const xs = [];
    const ys = lines.map(() => []);
    at.forEach((each, i) => {
      if (i && each - at[i - 1] > most) { xs.push((each + at[i - 1]) / 2); ys.forEach((line) => line.push(null)); }
      xs.push(each);
      ys.forEach((line, n) => line.push(lines[n][i]));
    });
    return [xs, ...ys];
  }

  // Where there is no room for a point at each value, those have one whose line is too short to be seen.
  function alone(plot, place, shown) {
    if (shown) return null;
    const [xs, values] = [plot.data[0], plot.data[place]];
    const none = (i) => values[i] === null || values[i] === undefined;
    const found = [];
    let from = null;
    xs.forEach((x, i) => {
      if (none(i)) { from = null; return; }
      if (from === null) from = x;
      if (none(i + 1) && plot.valToPos(x, "x") - plot.valToPos(from, "x") < LINE_PX) found.push(i);
    });
    return found;
  }

  class Chart {
    constructor(figure, section) {
      this.figure = figure;
      this.section = section;
      this.name = figure.dataset.chart;
      this.counts = figure.dataset.kind === "counts";
      this.place = figure.querySelector("[data-plot]");
      this.said = figure.querySelector("[data-said]");
      this.at = [];
      this.values = {};
      this.latest = null;
      this.plot = null;
      const all = figure.querySelector(".chart-all");
      if (all) all.hidden = true;  // the caption says it, and keeps up
    }

    get lines() {
      return this.values.avg ? ["avg", "min", "max"] : Object.keys(this.values);
    }
    colour(line, place) {
      return ink[INK[line] || (place ? INK.second : "link")];
    }

    // Replaces what there was from the first of ``item`` on, or all of it; forgets what is before ``since``.
    take(item, since, whole, from) {
      const at = item.at.map((each) => Date.parse(each) / 1000);
      const begin = whole ? -Infinity : from;
      const keep = this.at.map((each, i) => i).filter((i) => this.at[i] < begin && this.at[i] >= since);
      const kept = this.values;
      this.values = {};
      for (const line of Object.keys(item.values)) {
        if (line !== "last") this.values[line] = [...keep.map((i) => kept[line][i]), ...item.values[line]];
      }
      this.at = [...keep.map((i) => this.at[i]), ...at];
      this.bucketS = item.bucket_s;
      if (item.values.last && item.values.last.length) this.latest = item.values.last[item.values.last.length - 1];
    }

    show() {
      const lines = this.lines;
      const rows = lines.map((line) => this.values[line]);
      const data = this.counts ? [this.at, ...rows] : gapped(this.at, rows);
      if (!this.plot && lines.length) this.plot = new uPlot(this.options(lines), data, this.place);
      else if (this.plot) this.plot.setData(data);
      this.caption(lines);
      this.figure.dataset.drawn = String(this.at.length);
    }

    caption(lines) {
      if (this.counts) {
        this.said.replaceChildren(...lines.map((line) => {
          const part = document.createElement("span");
          part.className = "key";
          part.dataset.line = line;
          part.textContent = `${told(this.values[line].reduce((sum, each) => sum + each, 0))} ${line}`;
          return part;
        }));
        return;
      }
      let text = "no numbers in this time";
      if (this.at.length) {
        const low = this.values.min.reduce((a, b) => Math.min(a, b));
        const high = this.values.max.reduce((a, b) => Math.max(a, b));
        const latest = this.latest === null ? "" : `latest ${told(this.latest)}, `;
        text = `${latest}lowest ${told(low)}, highest ${told(high)}`;
      }
      if (this.said.textContent !== text) this.said.textContent = text;
    }

    options(lines) {
      const band = lines[0] === "avg";
      const width = (line) => (band && line !== "avg" ? 0 : 1.6);
      const bars = this.counts && this.bucketS >= BARS_FROM_S ? uPlot.paths.bars({ size: [0.8, 60], align: 1 }) : undefined;
      const axis = { stroke: () => ink.soft, grid: { stroke: () => ink.line, width: 1 }, ticks: { stroke: () => ink.line, width: 1 }, font: "12px system-ui, sans-serif" };
      const grown = (u, low, high) => [0, high > 0 ? high * 1.15 : 1];
      return {
        width: Math.max(120, this.place.clientWidth), height: HEIGHT, legend: { show: false },
        scales: { x: { time: true, range: () => this.section.window() }, y: this.counts ? { range: grown } : { range: around } },
        padding: [10, 10, null, null],
        axes: [{ ...axis, size: 34, values: times }, { ...axis, size: 58, values: (u, ticks) => ticks.map(told) }],
        series: [{}, ...lines.map((line, place) => ({
          label: line, width: width(line), stroke: () => this.colour(line, place), points: band && line === "avg" ? { fill: () => this.colour(line, place), filter: alone } : { show: false },
          paths: bars, fill: this.counts ? () => faint(this.colour(line, place), bars ? 0.45 : 0.18) : undefined,
        }))],
        bands: band ? [{ series: [3, 2], fill: () => faint(ink.link, 0.16) }] : [],
        cursor: {
          drag: { x: true, y: false, setScale: false }, y: false,
          bind: { dblclick: () => () => { this.section.reset(); return null; } },
        },
        hooks: {
          drawClear: [(u) => this.mark(u), (u) => window.pulseOverlays.draw(u, this.figure, ink, faint)],
          setCursor: [(u) => this.tip(u, lines)],
          setSelect: [(u) => this.chosen(u)],
        },
      };
    }

    // Alerts: where they were open, behind the lines, with an edge where they began.
    mark(u) {
      const [from, to] = this.section.window();
      for (const alert of this.section.alerts) {
        if (alert.to < from || alert.from > to) continue;
        const left = u.valToPos(Math.max(from, alert.from), "x", true);
        const right = u.valToPos(Math.min(to, alert.to), "x", true);
        const colour = BAD.includes(alert.severity) ? ink.bad : ink.warn;
        u.ctx.fillStyle = faint(colour, 0.12);
        u.ctx.fillRect(left, u.bbox.top, Math.max(1, right - left), u.bbox.height);
        u.ctx.fillStyle = colour;
        u.ctx.fillRect(left, u.bbox.top, 2, u.bbox.height);
      }
    }

    tip(u, lines) {
      if (!this.box) {
        this.box = document.createElement("div");
        this.box.className = "chart-tip";
        u.over.append(this.box);
      }
      const index = u.cursor.idx;
      const here = index === null || index === undefined ? null : u.data[0][index];
      this.box.hidden = here === null || u.data[1][index] === null;
      if (this.box.hidden) return;
      const rows = lines.map((line, n) => `${line} ${told(u.data[n + 1][index])}`);
      const alerts = this.section.alerts.filter((each) => each.from <= here + this.bucketS && each.to >= here);
      const texts = [clock.format(new Date(here * 1000)), ...rows, ...alerts.slice(0, 3).map((each) => each.text)];
      this.box.replaceChildren(...texts.map((text) => {
        const row = document.createElement("div");
        row.textContent = text;
        return row;
      }));
      const left = u.valToPos(here, "x");
      const after = left < u.over.clientWidth / 2;
      this.box.style.left = after ? `${left + 12}px` : "auto";
      this.box.style.right = after ? "auto" : `${u.over.clientWidth - left + 12}px`;
    }

    chosen(u) {
      const { left, width } = u.select;
      if (width < LEAST_PX) return;
      const from = u.posToVal(left, "x");
      const to = u.posToVal(left + width, "x");
      u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      this.section.zoom(from, to);
    }
  }

  class Section {
    constructor(root) {
      this.root = root;
      this.lengthS = Number(root.dataset.lengthS || 0);
      this.ahead = Date.parse(root.dataset.now) - Date.now();
      this.every = Number(root.dataset.every || SOON_MS);
      this.told = JSON.parse(root.dataset.told);
      this.zoomed = null;
      this.alerts = [];
      this.span = null;
      this.waiting = null;
      this.last = 0;
      this.lastWhole = 0;
      this.asked = 0;
      this.button = root.querySelector("[data-reset]");
      this.charts = new Map([...root.querySelectorAll("figure[data-chart]")].map((each) => [each.dataset.chart, new Chart(each, this)]));
      if (this.button) this.button.addEventListener("click", () => this.reset());
      document.addEventListener("pulse:told", (event) => {
        if (root.dataset.marks && "alerts" in event.detail) this.unmarked = true;
        if (this.unmarked || this.concerned(event.detail)) this.soon(false);
      });
      document.addEventListener("pulse:again", () => this.soon(true));
      new ResizeObserver(() => this.fit()).observe(root);
      if (this.lengthS) setInterval(() => { if (!document.hidden) this.soon(false); }, SLIDE_MS);
      this.soon(true);
    }

    now() { return (Date.now() + this.ahead) / 1000; }
    concerned(changed) {
      return Object.entries(this.told).some(([kind, id]) => kind in changed && (id === null || changed[kind] === null || changed[kind].includes(id)));
    }

    // What the charts show, in seconds since the epoch.
    window() {
      if (this.zoomed) return this.zoomed;
      if (this.span) return this.span;
      const to = Math.max(this.now(), ...[...this.charts.values()].map((each) => (each.at.length ? each.at[each.at.length - 1] : 0)));
      return [to - this.lengthS, to];
    }

    soon(whole) {
      this.whole = this.whole || whole;
      if (this.waiting === null) this.waiting = setTimeout(() => this.update(), Math.max(0, this.last + this.every - Date.now()));
    }

    zoom(from, to) {
      if (!this.lengthS || to - from < 2) return;
      this.zoomed = [from, to];
      this.button.hidden = false;
      this.soon(true);
    }
    reset() {
      if (!this.zoomed) return;
      this.zoomed = null;
      this.button.hidden = true;
      this.soon(true);
    }

    address(from, to, bucketS, agg) {
      const url = new URL(this.root.dataset.series, location.href);
      if (!this.lengthS) return url;
      const iso = (seconds) => new Date(Math.floor(seconds * 1000)).toISOString();
      url.searchParams.set("from", iso(from));
      url.searchParams.set("to", iso(to));
      url.searchParams.set("bucket", String(bucketS));
      if (agg) url.searchParams.set("agg", `${url.searchParams.get("agg")},${agg}`);
      return url;
    }

    // Either everything, or what came since: the last buckets anew.
    async update() {
      this.waiting = null;
      this.last = Date.now();
      const mine = ++this.asked;
      const whole = this.whole || !this.lengthS || Date.now() - this.lastWhole > WHOLE_MS;
      const marks = whole || this.unmarked ? this.marks() : null;
      this.unmarked = false;
      if (this.zoomed && !whole) return;
      this.whole = false;
      const [from, to] = this.zoomed || [this.now() - this.lengthS, this.now() + AHEAD_S];
      const bucketS = STEPS_S.find((each) => each >= ((this.zoomed ? to : this.now()) - from) / POINTS) || STEPS_S[STEPS_S.length - 1];
      const since = whole ? from : Math.floor(this.now() / bucketS - 3) * bucketS;
      try {
        const [answer] = await Promise.all([
          this.fetched(this.address(since, to, bucketS, !this.zoomed && !whole ? "last" : "")), marks,
        ]);
        if (mine !== this.asked && whole) this.whole = true;
        if (mine !== this.asked) return;
        if (whole) this.lastWhole = Date.now();
        if (!this.lengthS) this.span = [Date.parse(answer.start) / 1000, Date.parse(answer.end) / 1000];
        this.take(answer, from, whole, since);
        this.note("");
        if (whole && this.lengthS && !this.zoomed) this.soon(false);  // for the latest values, of all readings
      } catch (error) {
        this.note(`The charts are not up to date: ${error.message}`);
        this.whole = this.whole || whole;
      }
    }

    take(answer, from, whole, since) {
      const named = new Set(answer.series.map((each) => each.name));
      for (const item of answer.series) this.chart(item.name).take(item, from, whole, since);
      if (whole) {
        for (const chart of this.charts.values()) if (!named.has(chart.name)) chart.take({ at: [], values: { avg: [], min: [], max: [] } }, from, true, since);
      }
      for (const chart of this.charts.values()) chart.show();
      const none = this.root.querySelector("[data-none]");
      if (none) none.hidden = this.charts.size > 0;
    }

    chart(name) {
      if (!this.charts.has(name)) {
        const figure = this.root.querySelector("template[data-new]").content.firstElementChild.cloneNode(true);
        figure.dataset.chart = name;
        figure.querySelector(".chart-name").textContent = name;
        this.root.querySelector("[data-charts]").append(figure);
        this.charts.set(name, new Chart(figure, this));
      }
      return this.charts.get(name);
    }

    async fetched(url) {
      const answer = await fetch(url, { headers: { Accept: "application/json" }, cache: "no-store" });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      return answer.json();
    }

    async marks() {
      if (!this.root.dataset.marks) return;
      let found;
      try {
        found = await this.fetched(this.root.dataset.marks);
      } catch {
        this.unmarked = true;  // the next time
        return;
      }
      this.alerts = found.items.map((each) => ({
        from: Date.parse(each.opened_at) / 1000, to: each.closed_at ? Date.parse(each.closed_at) / 1000 : Infinity,
        severity: each.severity_name, text: `${each.severity_name.toLowerCase()}: ${each.summary || each.alert_type}`,
      }));
      this.root.querySelector("[data-marked]").hidden = !this.alerts.length;
      this.redraw();
    }

    note(text) {
      const place = this.root.querySelector("[data-note]");
      if (this.noted === undefined) this.noted = place.textContent;
      if (place.textContent !== (text || this.noted)) place.textContent = text || this.noted;
    }
    fit() {
      for (const chart of this.charts.values()) {
        const width = Math.max(120, chart.place.clientWidth);
        if (chart.plot && chart.plot.width !== width) chart.plot.setSize({ width, height: HEIGHT });
      }
    }
    redraw() {
      for (const chart of this.charts.values()) if (chart.plot) chart.plot.redraw(false, true);
    }
  }

  if (!window.uPlot) return;
  mix();
  const sections = [...document.querySelectorAll("[data-series]")].map((each) => new Section(each));
  const again = () => { mix(); for (const each of sections) each.redraw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new MutationObserver(again).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) for (const each of sections) each.soon(true); });
})();
