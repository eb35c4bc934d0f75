"use strict";
// What charts.js draws behind the numbers of a device: where values are out of range (data-low and data-high of the
// figure), and when the device told of something (the events that the page lists). The page says both in words, too.
window.pulseOverlays = (() => {
  const DASH_PX = 5;

  function dashed(u, colour, from, to) {
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = colour;
    ctx.lineWidth = Math.max(1, devicePixelRatio);
    ctx.setLineDash([DASH_PX * devicePixelRatio, DASH_PX * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(...from);
    ctx.lineTo(...to);
    ctx.stroke();
    ctx.restore();
  }

  // Shaded from a bound to the edge of the chart, as far as that can be seen.
  function bound(u, text, isHigh, ink, faint) {
    const { min, max } = u.scales.y;
    const value = Number(text);
    if (text === undefined || min === null || max === null || (isHigh ? value >= max : value <= min)) return;
    const { left, top, width, height } = u.bbox;
    const at = Math.min(top + height, Math.max(top, u.valToPos(value, "y", true)));
    u.ctx.fillStyle = faint(ink.warn, 0.1);
    if (isHigh) u.ctx.fillRect(left, top, width, at - top);
    else u.ctx.fillRect(left, at, width, top + height - at);
    if (value > min && value < max) dashed(u, ink.warn, [left, at], [left + width, at]);
  }

  function events(u, ink) {
    const { min, max } = u.scales.x;
    for (const each of document.querySelectorAll("[data-event-at]")) {
      const at = Date.parse(each.dataset.eventAt) / 1000;
      if (!(at >= min && at <= max)) continue;
      const x = u.valToPos(at, "x", true);
      dashed(u, ink.info, [x, u.bbox.top], [x, u.bbox.top + u.bbox.height]);
    }
  }

  return {
    draw(u, figure, ink, faint) {
      if (figure.dataset.kind) return;
      bound(u, figure.dataset.low, false, ink, faint);
      bound(u, figure.dataset.high, true, ink, faint);
      events(u, ink);
    },
  };
})();
