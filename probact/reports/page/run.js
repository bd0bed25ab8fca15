// One run: choose a problem and a step, read values. Lines and axes are drawn by figures.js.
"use strict";

const STOPS = [["own", "own stop", "own", ""], ["budget", "best budget", "budget", "7 4"], ["patience", "best patience", "patience", "2 3"], ["oracle", "best step in hindsight", "ink", ""]];
const color = (role) => `var(--${role})`;
const dashed = (role, dashes) => ({stroke: color(role), "stroke-dasharray": dashes || "none"});

class RunView {
  constructor(root) {
    this.root = root;
    this.data = JSON.parse(document.getElementById(root.dataset.source).textContent);
    this.steps = Array.from({length: this.data.steps}, (_, i) => i + 1);
    this.exact = this.data.kappa === 1 ? "exact p(t|x)" : `exact p(t|x), KL scale ${this.data.kappa}`;
    this.problem = 0; this.seed = 0; this.step = null; this.drawn = {};
    for (const place of root.querySelectorAll("[data-figure]")) this.drawn[place.dataset.figure] = place;
    if (this.data.kept.length) this.controls();
    let width = 0;
    new ResizeObserver(() => { if (root.clientWidth !== width) { width = root.clientWidth; this.draw(); } }).observe(root);
  }

  legend(name, entries) { legend(this.root.querySelector(`[data-legend="${name}"]`), entries); }
  get chain() { return this.data.chains[this.seed]; }
  J(step, of = this.problem) { return this.chain.loss[of][step - 1] + this.data.price * step; }

  controls() {
    const num = this.data.kept.length, find = (name) => this.root.querySelector(`[data-control="${name}"]`);
    this.slider = find("problem"); this.slider.max = num;
    this.stepper = find("step"); this.stepper.max = this.data.steps;
    this.slider.addEventListener("input", () => this.choose(+this.slider.value - 1));
    this.stepper.addEventListener("input", () => this.point(+this.stepper.value));
    find("easier").addEventListener("click", () => this.choose(this.problem - 1));
    find("harder").addEventListener("click", () => this.choose(this.problem + 1));
    const seeds = find("seed");
    if (seeds) seeds.addEventListener("change", () => { this.seed = +seeds.value; this.draw(); });
    this.rows = new Map();
    for (const row of this.root.querySelectorAll(".long tbody tr")) {
      const head = row.firstElementChild, number = +head.textContent.replace("no. ", ""), button = document.createElement("button");
      button.textContent = head.textContent; button.title = "show this problem above";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        this.choose(this.data.kept.indexOf(number));
        this.drawn.problem.scrollIntoView({block: "nearest"});
      });
      this.rows.set(number, row);
    }
    this.problem = Math.floor((num - 1) / 2);
    this.step = (this.chain.own ?? this.chain.oracle)[this.problem];
  }

  choose(problem) {
    this.problem = Math.max(0, Math.min(this.data.kept.length - 1, problem));
    this.step = (this.chain.own ?? this.chain.oracle)[this.problem];
    this.draw(true);
  }

  draw(picked = false) {
    if (this.data.kept.length) {
      this.slider.value = this.problem + 1;
      this.slider.setAttribute("aria-valuetext", `problem no. ${this.data.kept[this.problem]}`);
      this.drawProblem(); this.table(); this.point(this.step);
      this.rows.forEach((row, number) => row.classList.toggle("picked", number === this.data.kept[this.problem]));
      if (this.drawn.stops) this.drawStops();
      if (this.drawn.gaps) this.drawGaps();
      this.drawHeats();
    }
    if (!picked && this.drawn.training) this.drawTraining();
    if (!picked && this.drawn.halting) this.drawHalting();
    if (!picked && this.drawn.gap_curve) this.drawGapCurve();
  }

  // One problem: losses above, distributions of t below, stops through both.
  drawProblem() {
    const {chain, problem, steps, data} = this, loss = chain.loss[problem], H = data.steps;
    const cost = steps.map((t) => this.J(t)), best = chain.oracle[problem];
    const place = this.drawn.problem, said = `Problem no. ${data.kept[problem]}: loss, q(t|x), exact posterior and prior by step; the table below has its stops`;
    const {svg, width, height} = sheet(place, 470, said);
    const above = {left: 58, right: width - 10, top: 28, bottom: 240}, below = {left: 58, right: width - 10, top: 292, bottom: 426};
    const x = scale([0.5, H + 0.5], [above.left, above.right]);
    const shown = window_of(loss, cost), y = scale(shown.domain, [above.bottom, above.top], shown.logarithmic);
    const top = axes(svg, above, x, y, {y: shown.logarithmic ? "loss (nats, logarithmic)" : "loss (nats)"});
    this.marks(svg, x, above, below);
    line(top, steps, cost, x, y, {...dashed("quiet", "1 4"), "stroke-linecap": "round"});
    line(top, steps, loss, x, y, {stroke: color("loss")});
    const pmfs = [data.prior, chain.exact[problem], ...(chain.q ? [chain.q[problem]] : [])];
    const most = Math.max(...pmfs.map((pmf) => Math.max(...pmf))) / data.unit;
    const p = scale([0, most * 1.05], [below.bottom, below.top]), of = (pmf) => pmf.map((n) => n / data.unit);
    const low = axes(svg, below, x, p, {x: "step t", y: "probability to halt"});
    stairs(low, of(data.prior), x, p, {fill: color("prior"), "fill-opacity": .35});
    if (chain.q) stairs(low, of(chain.q[problem]), x, p, {fill: color("learned"), "fill-opacity": .45});
    stairs(low, of(chain.exact[problem]), x, p, {fill: "none", stroke: color("exact"), "stroke-width": 2});
    this.cross = add(svg, "line", {class: "cross", y1: above.top, y2: below.bottom, visibility: "hidden"});
    this.dot = add(svg, "circle", {r: 4, fill: color("loss"), visibility: "hidden"});
    this.places = {x, y};
    const at = (px) => Math.max(1, Math.min(H, Math.round(x.back(px))));
    follow(svg, (px, py, event) => { this.point(at(px)); tip.show(event, this.words(at(px))); }, () => {}, (px) => this.point(at(px)));
    this.legend("problem", [
      ["loss", dashed("loss")], ["loss + price of the steps", dashed("quiet", "1 4")],
      ...(chain.q ? [["learned q(t|x)", {area: {fill: color("learned"), "fill-opacity": .45}}]] : []),
      [this.exact, dashed("exact")], ["prior p(t)", {area: {fill: color("prior"), "fill-opacity": .35}}],
      ...STOPS.filter(([name]) => chain[name]).map(([, label, role, dashes]) => [label, role === "ink" ? {dot: {fill: color("paper"), stroke: color("ink"), "stroke-width": 2}} : dashed(role, dashes)]),
    ]);
  }

  // Vertical lines at the stops; a ring at the best step.
  marks(svg, x, above, below) {
    for (const [name, , role, dashes] of STOPS) {
      if (!this.chain[name]) continue;
      const at = x(this.chain[name][this.problem]);
      if (name === "oracle") {
        add(svg, "circle", {cx: at, cy: above.top - 7, r: 5, fill: color("paper"), stroke: color("ink"), "stroke-width": 2});
        continue;
      }
      for (const box of [above, below]) add(svg, "line", {x1: at, x2: at, y1: box.top - (box === above ? 2 : 0), y2: box.bottom, "stroke-width": name === "own" ? 3 : 2, ...dashed(role, dashes)});
    }
  }

  words(step) {
    const {chain, problem, data} = this, part = (pmf) => say(pmf[step - 1] / data.unit, 3);
    return [`step ${step}`, `loss ${say(chain.loss[problem][step - 1], 5)}`, `loss + price ${say(this.J(step), 5)}`,
      ...(chain.q ? [`q(t|x) = ${part(chain.q[problem])}`] : []), `${this.exact} = ${part(chain.exact[problem])}`, `prior p(t) = ${part(data.prior)}`];
  }

  point(step) {
    if (step === null) return;
    this.step = step; this.stepper.value = step;
    const px = this.places.x(step), loss = this.chain.loss[this.problem][step - 1];
    for (const [key, value] of [["x1", px], ["x2", px], ["visibility", "visible"]]) this.cross.setAttribute(key, value);
    for (const [key, value] of [["cx", px], ["cy", Math.max(25, Math.min(243, this.places.y(loss)))], ["visibility", "visible"]]) this.dot.setAttribute(key, value);
    const [first, ...rest] = this.words(step);
    this.root.querySelector('[data-reading="step"]').textContent = `At ${first}: ${rest.join(" · ")}`;
  }

  // The stops of the problem that is shown, in words and as a table.
  table() {
    const {chain, problem, data} = this, best = this.J(chain.oracle[problem]);
    const facts = [`Problem no. ${data.kept[problem]}, ${problem + 1} of ${data.kept.length} from easy to hard`];
    if (data.size) facts.push(`size ${say(data.size[problem])}`);
    facts.push(`loss at the start ${say(chain.start[problem])}`);
    if (data.optimum && data.optimum[problem] !== null) facts.push(`smallest possible loss ${say(data.optimum[problem], 5)}`);
    facts.push(`log p(x) ${say(chain.log_evidence[problem], 5)}`);
    if (chain.q && data.kappa !== 1) facts.push(`q is ${say(chain.tempered_gap[problem], 3)} nats from the exact posterior at KL scale ${data.kappa}`);
    else if (chain.q) facts.push(`amortisation gap ${say(chain.amortisation_gap[problem], 3)}, horizon gap ${say(chain.horizon_gap[problem], 3)} nats`);
    this.root.querySelector('[data-reading="problem"]').textContent = `${facts.join("; ")}.`;
    const body = this.root.querySelector('[data-rows="stops"]');
    body.replaceChildren(...STOPS.filter(([name]) => chain[name]).map(([name, label]) => {
      const step = chain[name][problem], row = document.createElement("tr"), head = document.createElement("th");
      head.scope = "row"; head.textContent = label; row.append(head);
      for (const text of [step, say(chain.loss[problem][step - 1], 5), say(this.J(step), 5), say(Math.max(0, this.J(step) - best), 3)]) row.insertCell().textContent = text;
      return row;
    }));
    body.parentElement.resort();
  }

  // Own stop against the best step: a point a problem, spread a little as steps are whole numbers.
  drawStops() {
    const {chain, data} = this, H = data.steps;
    const {svg, width} = sheet(this.drawn.stops, 360, "Own stop of each problem against its best step in hindsight; on the diagonal nothing is lost");
    const box = {left: 42, right: width - 10, top: 28, bottom: 312};
    const x = scale([0, H + 1], [box.left, box.right]), y = scale([0, H + 1], [box.bottom, box.top]);
    const group = axes(svg, box, x, y, {x: "best step in hindsight", y: "own stop (step)"});
    line(group, [0, H + 1], [0, H + 1], x, y, {...dashed("quiet", "2 4"), class: "line thin"});
    const budget = chain.budget?.[0];
    if (chain.budget?.every((step) => step === budget)) line(group, [0, H + 1], [budget, budget], x, y, dashed("budget", "7 4"));
    const off = (i, salt) => (((i * 2654435761 + salt) >>> 8) % 1000) / 1400 - 0.357;
    const points = chain.own.map((own, i) => [x(chain.oracle[i] + off(i, 17)), y(own + off(i * 7 + 3, 91))]);
    points.forEach(([cx, cy]) => add(group, "circle", {cx: cx.toFixed(1), cy: cy.toFixed(1), r: 3, fill: color("own"), "fill-opacity": .5}));
    const [px, py] = points[this.problem];
    add(svg, "circle", {class: "pick", cx: px, cy: py, r: 7});
    this.legend("stops", [["a problem", {dot: {fill: color("own"), "fill-opacity": .5}}], ["the one shown above", {dot: {fill: "none", stroke: color("ink"), "stroke-width": 2}}], ...(chain.budget ? [["best budget for all", dashed("budget", "7 4")]] : [])]);
    const near = (at) => nearest(points, at, 24);
    follow(svg, (mx, my, event) => {
      const i = near([mx, my]);
      if (i === null) return tip.hide();
      return tip.show(event, [`problem no. ${data.kept[i]}`, `own stop ${chain.own[i]}`, `best step ${chain.oracle[i]}`, `lost ${say(Math.max(0, this.J(chain.own[i], i) - this.J(chain.oracle[i], i)), 3)} nats`]);
    }, () => {}, (mx, my) => { const i = near([mx, my]); if (i !== null) this.choose(i); });
  }

  // From the bound up to the evidence, problem by problem from easy to hard.
  drawGaps() {
    const {chain, data} = this, num = data.kept.length, tempered = data.kappa !== 1;
    const lower = tempered ? chain.tempered_gap : chain.amortisation_gap, upper = tempered ? lower : lower.map((gap, i) => gap + chain.horizon_gap[i]);
    const most = Math.max(quantile(upper, 0.98) * 1.15, 1e-6);
    const {svg, width} = sheet(this.drawn.gaps, 360, "Gap between bound and evidence of each problem, from easy to hard");
    const box = {left: 52, right: width - 10, top: 28, bottom: 312};
    const x = scale([0.5, num + 0.5], [box.left, box.right]), y = scale([0, most], [box.bottom, box.top]);
    const group = axes(svg, box, x, y, {x: "problems, from easy to hard", y: "gap (nats)"});
    const bars = (from, to) => from.map((low, i) => `M${x(i + 1).toFixed(1)} ${y(low).toFixed(1)}V${y(to[i]).toFixed(1)}`).join("");
    const wide = {fill: "none", "stroke-width": Math.max(0.6, ((box.right - box.left) / num) * 0.85)};
    add(group, "path", {d: bars(lower.map(() => 0), lower), stroke: color("learned"), ...wide});
    if (!tempered) add(group, "path", {d: bars(lower, upper), stroke: color("exact"), ...wide});
    const at = x(this.problem + 1);
    add(svg, "path", {d: `M${at - 6} ${box.bottom + 10}L${at} ${box.bottom + 1}L${at + 6} ${box.bottom + 10}Z`, fill: color("ink")});
    this.legend("gaps", [["amortisation gap", {area: {fill: color("learned")}}], ...(tempered ? [] : [["horizon gap, on top", {area: {fill: color("exact")}}]]), ["▲ the one shown above", null]]);
    const of = (px) => Math.max(0, Math.min(num - 1, Math.round(x.back(px)) - 1));
    follow(svg, (px, py, event) => {
      const i = of(px);
      tip.show(event, [`problem no. ${data.kept[i]}`, `amortisation gap ${say(lower[i], 3)} nats`, ...(tempered ? [] : [`horizon gap ${say(chain.horizon_gap[i], 3)} nats`]), `best step ${chain.oracle[i]}`]);
    }, () => {}, (px) => this.choose(of(px)));
  }

  drawHeats() {
    const {chain} = this, own = chain.own ? [[chain.own, {stroke: color("own")}]] : [];
    if (this.drawn.heat_q) {
      drawHeat(this, "heat_q", chain.q, "learned", own, "q(t|x)");
      this.legend("heat_q", [["learned q(t|x)", {area: {fill: color("learned")}}], ["own stop", {dot: {fill: color("own"), r: 2}}], ["▸ the one shown above", null]]);
    }
    drawHeat(this, "heat_exact", chain.exact, "exact", [[chain.oracle, {stroke: color("ink")}]], this.exact);
    this.legend("heat_exact", [[this.exact, {area: {fill: color("exact")}}], ["best step in hindsight", {dot: {fill: color("ink"), r: 2}}]]);
  }

  curves(place, name, field, extra, all = this.data.training) {
    const {svg, width} = sheet(place, 330, `${name} over meta-steps`);
    const box = {left: 58, right: width - 10, top: 28, bottom: 284};
    const last = Math.max(1, ...all.map((one) => one.step.at(-1) ?? 1)), x = scale([0, last], [box.left, box.right]);
    const values = all.flatMap((one) => one[field]).filter(Number.isFinite), y = scale(middle(values, extra), [box.bottom, box.top]);
    const group = axes(svg, box, x, y, {x: "meta-step", y: name});
    all.forEach((one, i) => line(group, one.step, one[field], x, y, {stroke: color(`c${i % 8}`), class: "line", "stroke-width": 1.4, opacity: field === "loss" ? .55 : 1}));
    follow(svg, (px, py, event) => {
      const at = x.back(px), lines = all.map((one) => {
        const i = one.step.reduce((best, step, j) => (Math.abs(step - at) < Math.abs(one.step[best] - at) ? j : best), 0);
        return one.step.length ? `${one.label}, meta-step ${one.step[i]}: ${say(one[field][i])}` : `${one.label}: -`;
      });
      tip.show(event, [name, ...lines]);
    }, () => {});
    return {group, x, y, box, svg};
  }

  drawTraining() {
    const {data} = this, best = data.training.flatMap((one) => one.validation.map(([, value]) => value)).filter(Number.isFinite);
    const kept = data.training.flatMap((one) => one.validation.filter(([step]) => step === one.kept).map(([, value]) => value)).filter(Number.isFinite);
    const mean = kept.reduce((a, b) => a + b, 0) / kept.length;
    const levels = kept.length ? Object.entries(data.room).map(([label, nats], i) => [`${label}: ${say(nats, 2)} nats below`, mean - nats, ["6 4", "2 3"][i]]) : [];
    const {group, x, y} = this.curves(this.drawn.training, data.objective, "loss", best.length ? [Math.min(...best), quantile(best, 0.9), ...levels.map(([, level]) => level)] : []);
    levels.forEach(([, level, dashes]) => line(group, x.domain, [level, level], x, y, dashed("ink", dashes)));
    data.training.forEach((one, i) => {
      const look = {stroke: color(`c${i % 8}`)};
      line(group, one.validation.map(([step]) => step), one.validation.map(([, value]) => value), x, y, look);
      for (const [step, value] of one.validation) {
        if (!Number.isFinite(value)) continue;
        const kept = step === one.kept;
        add(group, "circle", {cx: x(step), cy: y(value), r: kept ? 6 : 2.5, fill: kept ? color("paper") : look.stroke, ...look, "stroke-width": kept ? 2.5 : 1});
      }
    });
    this.legend("training", [
      ...data.training.map((one, i) => [one.label, {stroke: color(`c${i % 8}`)}]),
      ["kept", {dot: {fill: color("paper"), stroke: color("ink"), "stroke-width": 2}}],
      ...levels.map(([label, , dashes]) => [label, dashed("ink", dashes)]),
    ]);
  }

  // Of the validation problems, whenever there was a validation.
  drawGapCurve() {
    const {data} = this, all = data.training.map((one) => ({...one, step: one.gap.map(([step]) => step), gap: one.gap.map(([, gap]) => gap)}));
    const {group, x, y} = this.curves(this.drawn.gap_curve, "gap (nats)", "gap", [0], all);
    all.forEach((one, i) => one.step.forEach((step, j) => {
      if (Number.isFinite(one.gap[j])) add(group, "circle", {cx: x(step), cy: y(one.gap[j]), r: 2.5, fill: color(`c${i % 8}`)});
    }));
    this.legend("gap_curve", all.map((one, i) => [one.label, {stroke: color(`c${i % 8}`)}]));
  }

  drawHalting() {
    const {data} = this, {group, x, y} = this.curves(this.drawn.halting, "mean halting step E[t]", "halting", data.exact_mean === null ? [] : [data.exact_mean]);
    if (data.exact_mean !== null) line(group, x.domain, [data.exact_mean, data.exact_mean], x, y, dashed("ink", "6 4"));
    this.legend("halting", [
      ...data.training.map((one, i) => [one.label, {stroke: color(`c${i % 8}`)}]),
      ...(data.exact_mean === null ? [] : [["exact posterior at the end", dashed("ink", "6 4")]]),
    ]);
  }
}

function nearest(points, [x, y], within) {
  let found = null, least = within ** 2;
  points.forEach(([a, b], i) => { const far = (a - x) ** 2 + (b - y) ** 2; if (far < least) { least = far; found = i; } });
  return found;
}

// What to show of a loss path: all of it, on a logarithmic axis where it falls far, or without the first steps' height.
function window_of(loss, cost) {
  const all = [...loss, ...cost].filter((v) => v !== null), low = Math.min(...all), high = Math.max(...all);
  if (low > 0 && high > 25 * low) return {domain: [low * 0.9, high * 1.1], logarithmic: true};
  const inner = quantile(loss, 0.85);
  const top = high - low > 6 * (inner - low) && inner > low ? Math.max(low + 3 * (inner - low), ...cost.slice(-1)) : high;
  const room = (top - low || 1) * 0.06;
  return {domain: [low - room, top + room], logarithmic: false};
}

function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))];
}

// Limits without the first, high values, but with those in also.
function middle(values, also) {
  if (!values.length && !also.length) return [0, 1];
  const many = values.length > 20, low = Math.min(...(values.length ? [quantile(values, many ? 0.02 : 0)] : []), ...also), high = Math.max(...(values.length ? [quantile(values, many ? 0.9 : 1)] : []), ...also);
  const room = (high - low || 1) * 0.12;
  return [low - room, high + room];
}
