// Drawing with SVG: scales, axes, lines, and what stands under the pointer. It knows nothing of runs.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function add(parent, name, attributes = {}, text) {
  const node = document.createElementNS(parent.namespaceURI === SVG || name === "svg" ? SVG : parent.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

// A number as a person would write it, to so many significant digits.
function say(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(digits - 1).replace("-", "−");
  const decimals = size === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  const text = value.toLocaleString("en", {maximumFractionDigits: Math.min(decimals, 8)});
  return text.replace("-", "−");
}

function scale(domain, range, logarithmic = false) {
  const of = logarithmic ? (v) => Math.log10(Math.max(v, 1e-300)) : (v) => v;
  const [a, b] = domain.map(of), [c, d] = range, width = b - a || 1;
  const place = (value) => c + ((of(value) - a) / width) * (d - c);
  place.back = (pixel) => { const v = a + ((pixel - c) / (d - c)) * width; return logarithmic ? 10 ** v : v; };
  place.domain = domain;
  place.ticks = logarithmic ? logTicks(domain) : plainTicks(domain, Math.abs(d - c) < 260 ? 4 : 6);
  return place;
}

function plainTicks([low, high], most) {
  if (!(high - low > 1e-12 * Math.max(Math.abs(low), Math.abs(high)))) return Number.isFinite(low) ? [low] : [];
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + 1e-9 * step; tick += step) ticks.push(+tick.toPrecision(12));
  return ticks;
}

function logTicks([low, high]) {
  const ticks = [], few = high > 300 * low;
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
    for (const digit of few ? [1] : [1, 2, 5]) if (digit * 10 ** power >= low && digit * 10 ** power <= high) ticks.push(digit * 10 ** power);
  return ticks.length > 1 ? ticks : plainTicks([low, high], 4);
}

// Steps as whole numbers, without repeating one.
const whole = (ticks) => ticks.filter((tick) => Number.isInteger(tick));

// An empty SVG as wide as what it stands in, and so high; said is what it shows, in words.
function sheet(place, height, said) {
  place.replaceChildren();
  const width = Math.max(240, Math.floor(place.clientWidth || 600));
  const svg = add(place, "svg", {viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": said});
  return {svg, width, height};
}

// Axes of a box {left, right, top, bottom}; returns a group that is clipped to it.
let clips = 0;
function axes(svg, box, x, y, names, integer = true) {
  const id = `clip-${clips++}`;
  add(add(svg, "clipPath", {id}), "rect", {x: box.left - 7, y: box.top - 3, width: box.right - box.left + 14, height: box.bottom - box.top + 4});
  for (const tick of y.ticks) {
    add(svg, "line", {class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick)});
    add(svg, "text", {x: box.left - 7, y: y(tick) + 4, "text-anchor": "end"}, say(tick, 3));
  }
  if (names.x !== undefined) {
    for (const tick of integer ? whole(x.ticks) : x.ticks) {
      add(svg, "line", {class: "axis", x1: x(tick), x2: x(tick), y1: box.bottom, y2: box.bottom + 4});
      add(svg, "text", {x: x(tick), y: box.bottom + 17, "text-anchor": "middle"}, say(tick, 6));
    }
    add(svg, "text", {x: (box.left + box.right) / 2, y: box.bottom + 35, "text-anchor": "middle"}, names.x);
  }
  add(svg, "line", {class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom});
  add(svg, "text", {x: 0, y: box.top - 10}, names.y);
  return add(svg, "g", {"clip-path": `url(#${id})`});
}

function line(group, xs, ys, x, y, look) {
  let path = "", pen = "M";
  xs.forEach((at, i) => {
    if (ys[i] === null || !Number.isFinite(ys[i])) { pen = "M"; return; }
    path += `${pen}${x(at).toFixed(1)} ${Math.max(-1e5, Math.min(1e5, y(ys[i]))).toFixed(1)}`;
    pen = "L";
  });
  return add(group, "path", {class: "line", d: path, ...look});
}

// Probabilities of steps 1, 2, ..., filled from zero, with flat tops.
function stairs(group, values, x, y, look) {
  let path = `M${x(0.5).toFixed(1)} ${y(0)}`;
  values.forEach((value, i) => { path += `V${y(value).toFixed(1)}H${x(i + 1.5).toFixed(1)}`; });
  return add(group, "path", {d: `${path}V${y(0)}Z`, ...look});
}

// What each colour and dash means: [name, look] of lines, or {fill} of areas.
function legend(place, entries) {
  place.replaceChildren();
  for (const [name, look] of entries) {
    const item = add(place, "li");
    if (look === null) { item.append(name); continue; }
    const svg = add(item, "svg", {viewBox: "0 0 26 12", "aria-hidden": "true"});
    if (look.dot) add(svg, "circle", {cx: 13, cy: 6, r: 4, ...look.dot});
    else if (look.area) add(svg, "rect", {x: 2, y: 1, width: 22, height: 10, ...look.area});
    else add(svg, "line", {x1: 0, x2: 26, y1: 6, y2: 6, "stroke-width": 2.5, ...look});
    item.append(name);
  }
}

const tip = {
  show(event, lines) {
    const box = document.getElementById("tip");
    box.replaceChildren(...lines.map((text, i) => { const row = document.createElement(i ? "div" : "strong"); row.textContent = text; return row; }));
    box.hidden = false;
    const {width, height} = box.getBoundingClientRect();
    const left = event.clientX + 16 + width > innerWidth ? event.clientX - width - 16 : event.clientX + 16;
    box.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
    box.style.top = `${Math.max(4, Math.min(event.clientY + 16, innerHeight - height - 4))}px`;
  },
  hide() { document.getElementById("tip").hidden = true; },
};

// Calls over(x, y, event) with coordinates of the drawing while a pointer is above it, out() when it left.
function follow(svg, over, out, click) {
  const at = (event) => {
    const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
    return [((event.clientX - box.left) / box.width) * view.width, ((event.clientY - box.top) / box.height) * view.height, event];
  };
  svg.addEventListener("pointermove", (event) => over(...at(event)));
  svg.addEventListener("pointerleave", () => { tip.hide(); out(); });
  if (click) { svg.classList.add("pointed"); svg.addEventListener("click", (event) => click(...at(event))); }
}
