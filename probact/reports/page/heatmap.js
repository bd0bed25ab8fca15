// All problems at once: a row a problem, from easy to hard, as strong in colour as it is probable to halt at a step.
"use strict";

function drawHeat(view, name, pmfs, role, marks, said) {
  const {data} = view, num = data.kept.length, H = data.steps;
  const {svg, width} = sheet(view.drawn[name], 330, `${said}: a row a problem, from easy to hard, stronger where halting is more probable`);
  const box = {left: 42, right: width - 10, top: 28, bottom: 284};
  const x = scale([0.5, H + 0.5], [box.left, box.right]), y = scale([0, num], [box.top, box.bottom]);
  const group = axes(svg, box, x, Object.assign((v) => y(v), {ticks: []}), {x: "step t", y: said});
  add(group, "image", {x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top, preserveAspectRatio: "none", href: shaded(view, name, pmfs, role), style: "image-rendering: pixelated"});
  for (const [steps, look] of marks) {
    const path = steps.map((step, i) => `M${(x(step) - 1.2).toFixed(1)} ${y(i + 0.5).toFixed(1)}h2.4`).join("");
    add(group, "path", {d: path, fill: "none", "stroke-width": Math.max(1.6, (box.bottom - box.top) / num), ...look});
  }
  for (const [text, at] of [["easy", 0.04], ["hard", 0.99]]) add(svg, "text", {x: box.left - 7, y: y(at * num), "text-anchor": "end"}, text);
  const middle = y(view.problem + 0.5);
  add(svg, "path", {d: `M${box.left - 9} ${middle - 5}L${box.left - 1} ${middle}L${box.left - 9} ${middle + 5}Z`, fill: color("ink")});
  const of = (py) => Math.max(0, Math.min(num - 1, Math.floor(y.back(py)))), at = (px) => Math.max(1, Math.min(H, Math.round(x.back(px))));
  follow(svg, (px, py, event) => {
    const i = of(py), step = at(px);
    tip.show(event, [`problem no. ${data.kept[i]}`, `${said} at step ${step}: ${say(pmfs[i][step - 1] / data.unit, 3)}`, `best step ${view.chain.oracle[i]}`, ...(view.chain.own ? [`own stop ${view.chain.own[i]}`] : [])]);
  }, () => {}, (px, py) => view.choose(of(py)));
}

// An image with a pixel for each probability, of the role's colour; kept until seed or colours change. Learned and exact
// are shaded alike: full colour is a probability that a tenth of the exact posteriors reach before the last step.
function shaded(view, name, pmfs, role) {
  const hex = getComputedStyle(document.documentElement).getPropertyValue(`--${role}`).trim(), key = `${view.seed} ${hex}`;
  view.images ??= {};
  if (view.images[name]?.key !== key) view.images[name] = {key, url: painted(pmfs, hex, quantile(view.chain.exact.map((pmf) => Math.max(1, ...pmf.slice(0, -1))), 0.9))};
  return view.images[name].url;
}

function painted(pmfs, hex, most) {
  const canvas = document.createElement("canvas"), drawing = canvas.getContext("2d");
  canvas.width = pmfs[0].length; canvas.height = pmfs.length;
  const rgb = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)), image = drawing.createImageData(canvas.width, canvas.height);
  pmfs.flat().forEach((value, i) => image.data.set([...rgb, 255 * Math.min(1, value / most)], 4 * i));
  drawing.putImageData(image, 0, 0);
  return canvas.toDataURL();
}
