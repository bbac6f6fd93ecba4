"use strict";

// The page asks for the numbers once a second, and for the samples that it does not have yet. The server keeps them, so
// a reload loses nothing.

const SECONDS = 600;
const SECOND = 1000;
/** Whether the user wants little to move. Then the page asks once in ten seconds, and still shows every sample. */
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const SVG = "http://www.w3.org/2000/svg";
const STYLES = ["first", "second", "third"];

const CHARTS = [
  { title: "Connections", format: count, series: [["connections", "open"]] },
  { title: "Messages per second", format: count, series: [["messages_per_second", "received"]] },
  {
    title: "Bytes per second", format: bytes, binary: true,
    series: [["received_bytes_per_second", "received"], ["sent_bytes_per_second", "sent"]],
  },
  {
    title: "Event loop", format: seconds, logarithmic: true, note: "logarithmic",
    series: [["turn_seconds_median", "turn"], ["turn_seconds_99", "99 % turn"], ["lateness_seconds_99", "99 % late"]],
  },
  { title: "Memory for replies", format: bytes, binary: true, note: "", series: [["buffered_bytes", "held"]] },
  {
    title: "Dropped per second", format: count,
    series: [
      ["rejected_connections_per_second", "connections"], ["dropped_datagrams_per_second", "datagrams"],
      ["dropped_log_lines_per_second", "log lines"],
    ],
  },
];

const columns = new Map(CHARTS.flatMap((chart) => chart.series).map(([name]) => [name, []]));
/** The process that the samples are of, the number of the next one, and when the newest was taken. */
let [server, next, newest] = [null, 0, Date.now()];
/** How many seconds ago the values are that the legends show, or null for now. */
let cursor = null;
let paused = false;
let lostAt = null;

// ---- numbers as text

function count(n) {
  const digits = n === 0 || n >= 100 || Number.isInteger(n) ? 0 : n >= 1 ? 1 : 2;
  return n.toLocaleString("en", { maximumFractionDigits: digits });
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit += 1) n /= 1024;
  return `${n.toLocaleString("en", { maximumFractionDigits: unit === 0 || n >= 100 ? 0 : 1 })} ${units[unit]}`;
}

function seconds(s) {
  const [n, unit] = s >= 1 ? [s, "s"] : s >= 1e-3 ? [s * 1e3, "ms"] : [s * 1e6, "µs"];
  return `${n.toLocaleString("en", { maximumSignificantDigits: 3 })} ${unit}`;
}

function duration(s) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  let first = parts.findIndex(([length]) => s >= length);
  if (first < 0) first = parts.length - 1;
  const shown = [];
  for (const [length, unit] of parts.slice(first, first + 2)) {
    const whole = Math.floor(s / length);
    s -= whole * length;
    if (whole > 0 || shown.length === 0) shown.push(`${whole} ${unit}`);
  }
  return shown.join(" ");
}

function clock(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString("en-GB");
}

function words(name) {
  return name.replaceAll("_", " ");
}

// ---- elements

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function row(name, ...cells) {
  return element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((cell) => element("td", {}, cell)));
}

function fill(id, rows) {
  document.getElementById(id).replaceChildren(...rows);
}

// ---- charts

function sampleCount() {
  return columns.get("connections").length;
}

/** The index of the sample that the cursor is at. */
function shownIndex() {
  return sampleCount() - 1 - (cursor ?? 0);
}

function makeChart(chart) {
  chart.values = chart.series.map(() => element("b", {}, "–"));
  const legend = chart.series.map(([, label], i) => {
    const key = drawn("svg", { viewBox: "0 0 27 10", "aria-hidden": "true" });
    key.append(drawn("path", { d: "M0 5H27", class: `series ${STYLES[i]}` }));
    return element("li", {}, key, label, chart.values[i]);
  });
  chart.noteText = element("span", { className: "note" }, chart.note ?? "");
  chart.svg = drawn("svg", { "aria-hidden": "true" });
  const role = { role: "slider", ariaLabel: `${chart.title}, time` };
  chart.plot = element("div", { className: "plot", tabIndex: 0, ...role }, chart.svg);
  chart.plot.setAttribute("aria-valuemin", -(SECONDS - 1));
  chart.plot.setAttribute("aria-valuemax", 0);
  chart.plot.addEventListener("keydown", pressed);
  chart.plot.addEventListener("blur", () => moveTo(null));
  chart.plot.addEventListener("pointermove", (event) => pointed(chart, event));
  chart.plot.addEventListener("pointerleave", () => moveTo(null));
  const caption = element(
    "figcaption", {}, element("h3", {}, chart.title), chart.noteText, element("ul", { className: "legend" }, ...legend),
  );
  new ResizeObserver(() => draw(chart)).observe(chart.plot);
  return element("figure", {}, caption, chart.plot);
}

function pressed(event) {
  const steps = { ArrowLeft: 1, ArrowRight: -1, PageUp: 60, PageDown: -60, Home: SECONDS, End: -SECONDS };
  if (event.key === "Escape") moveTo(null);
  else if (event.key in steps) moveTo((cursor ?? 0) + steps[event.key]);
  else return;
  event.preventDefault();
}

function pointed(chart, event) {
  const box = chart.plot.getBoundingClientRect();
  moveTo(Math.round(((box.right - event.clientX) / box.width) * (SECONDS - 1)));
}

function moveTo(secondsAgo) {
  const oldest = Math.max(sampleCount() - 1, 0);
  cursor = secondsAgo === null ? null : Math.min(Math.max(secondsAgo, 0), oldest);
  drawAll();
}

/** The values of the grid's lines, and where a value is between 0, the bottom, and 1. */
function scale(chart, values) {
  if (chart.logarithmic) {
    const known = values.filter((value) => value > 0);
    const low = Math.floor(Math.log10(Math.min(...known, 1e-5)));
    const high = Math.max(Math.ceil(Math.log10(Math.max(...known, 1e-3))), low + 2);
    const step = Math.ceil((high - low) / 4);
    const lines = [];
    for (let power = low; power <= high; power += step) lines.push(10 ** power);
    return { lines, at: (value) => (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low) };
  }
  const highest = Math.max(...values, chart.binary ? 1024 : 1);
  const base = chart.binary ? 1024 ** Math.floor(Math.log2(highest) / 10) : 10 ** Math.floor(Math.log10(highest));
  const factors = chart.binary ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] : [1, 2, 4, 6, 8, 10];
  const top = base * factors.find((factor) => factor * base >= highest);
  const parts = !chart.binary && top < 2 ? 1 : top / base === 6 ? 3 : 2;
  const lines = Array.from({ length: parts + 1 }, (_, i) => (top * i) / parts);
  return { lines, at: (value) => value / top };
}

function draw(chart) {
  const { width, height } = chart.plot.getBoundingClientRect();
  if (width === 0) return;
  const [top, bottom] = [14, height - 18];
  const lists = chart.series.map(([name]) => columns.get(name));
  const { lines, at } = scale(chart, lists.flat().filter((value) => value !== null));
  const length = sampleCount();
  const x = (index) => width - 4 - ((length - 1 - index) / (SECONDS - 1)) * (width - 4);
  const y = (value) => bottom - at(value) * (bottom - top);
  const parts = [];
  for (const [i, line] of lines.entries()) {
    const height = y(line);
    parts.push(drawn("path", { d: `M0 ${height}H${width}`, class: i === 0 ? "axis" : "grid" }));
    if (i > 0 || chart.logarithmic) parts.push(drawn("text", { x: 2, y: height - 3 }, chart.format(line)));
  }
  const times = [[SECONDS, "−10 min", "start"], [SECONDS / 2, "−5 min", "middle"], [0, newestText(), "end"]];
  for (const [ago, label, anchor] of times) {
    const place = anchor === "start" ? 2 : width - 2 - (ago / SECONDS) * (width - 4);
    parts.push(drawn("text", { x: place, y: height - 4, "text-anchor": anchor }, label));
  }
  for (const [i, list] of lists.entries()) parts.push(...drawSeries(list, STYLES[i], lists.length === 1, x, y, bottom));
  if (cursor !== null && length > 0) {
    const place = x(shownIndex());
    parts.push(drawn("path", { d: `M${place} ${top - 6}V${bottom}`, class: "cursor" }));
  }
  const index = shownIndex();
  for (const [i, list] of lists.entries()) {
    const value = list[index] ?? null;
    if (value !== null) parts.push(drawn("circle", { cx: x(index), cy: y(value), r: 3.2, class: `dot ${STYLES[i]}` }));
    chart.values[i].textContent = value === null ? "–" : chart.format(value);
  }
  if (length === 0) {
    const middle = { x: width / 2, y: height / 2, "text-anchor": "middle" };
    parts.push(drawn("text", middle, "the first sample comes in a second"));
  }
  chart.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.svg.replaceChildren(...parts);
  const values = chart.series.map(([, label], i) => `${label} ${chart.values[i].textContent}`);
  chart.plot.setAttribute("aria-valuenow", -(cursor ?? 0));
  chart.plot.setAttribute("aria-valuetext", `${whenText()}: ${values.join(", ")}`);
}

/** The line of a series, with gaps where there is no value. */
function drawSeries(list, style, filled, x, y, bottom) {
  let path = "";
  let start = null;
  const area = [];
  for (const [index, value] of list.entries()) {
    if (value === null) {
      start = null;
      continue;
    }
    const [place, level] = [x(index).toFixed(1), y(value).toFixed(1)];
    // A value between two gaps is a short line, since a point would not show.
    path += start === null ? `M${(place - 0.8).toFixed(1)} ${level}H${place}` : `L${place} ${level}`;
    start ??= place;
    area.push(`${place} ${level}`);
  }
  const parts = [drawn("path", { d: path, class: `series ${style}` })];
  if (filled && area.length > 1) {
    const d = `M${x(0).toFixed(1)} ${bottom}L${area.join("L")}V${bottom}Z`;
    parts.unshift(drawn("path", { d, class: "area" }));
  }
  return parts;
}

function newestText() {
  return lostAt !== null || paused || calm.matches ? clock(newest) : "now";
}

function whenText() {
  if (cursor === null) return newestText();
  return `${clock(newest - cursor * SECOND)}, ${duration(cursor)} ago`;
}

function drawAll() {
  for (const chart of CHARTS) draw(chart);
  document.getElementById("when").textContent = whenText();
}

// ---- tables

/** A row for each reason that there was, and one for all others. */
function counted(counts) {
  const present = counts.filter(([, n]) => n > 0).sort(([, one], [, other]) => other - one);
  const total = present.reduce((all, [, n]) => all + n, 0);
  const rows = present.map(([reason, n]) => {
    const share = element("span", { className: "share" });
    share.style.width = `${(100 * n) / total}%`;
    const made = row(reason, count(n));
    made.firstChild.append(share);
    return made;
  });
  const absent = counts.filter(([, n]) => n === 0).map(([reason]) => reason);
  if (absent.length > 0) {
    rows.push(element("tr", { className: "none" }, element("td", { colSpan: 2 }, `none: ${absent.join(", ")}`)));
  }
  return rows;
}

function showTables(report) {
  fill("listeners", report.listeners.map((listener) => {
    const address = listener.address.replace(/^(udp|unix):/, "");
    const place = [address, listener.name && `as ${listener.name}`, listener.proxy_protocol && "with PROXY headers"];
    return row(place.filter(Boolean).join(" "), listener.transport, listener.accepted === null ? "–" : count(listener.accepted));
  }));
  const named = (counts) => Object.entries(counts).map(([reason, n]) => [words(reason), n]);
  fill("closed", counted(named(report.connections.closed)));
  fill("rejected", counted(named(report.connections.rejected)));
  fill("dropped", counted(named(report.datagrams.dropped)));
  const turns = report.turn_seconds;
  fill("totals", [
    row("connections accepted", count(report.connections.accepted)),
    row("messages", count(report.messages)),
    row("received", bytes(report.received_bytes)),
    row("sent", bytes(report.sent_bytes)),
    row("datagrams sent", count(report.datagrams.sent)),
    row("pauses of accepting", count(report.accept_pauses)),
    row("retries for lack of memory", count(report.retries)),
    row("turns of the loop", count(report.turns)),
    row("mean turn", turns.count > 0 ? seconds(turns.sum / turns.count) : "–"),
    row("log lines", report.log ? count(report.log.written) : "no log"),
    row("log lines dropped", report.log ? count(report.log.dropped) : "no log"),
  ]);
  const { process } = report;
  const known = (value, format) => (value === null ? "unknown" : format(value));
  fill("process", [
    row("processor time", known(process.cpu_seconds, seconds)),
    row("memory", known(process.resident_memory_bytes, bytes)),
    row("descriptors", `${known(process.open_fds, count)} of ${known(process.max_fds, count)}`),
    row("threads", known(process.threads, count)),
    row("process id", String(report.server.pid)),
    row("version", report.server.version),
    row("built for", `${report.server.os}, ${report.server.arch}`),
    row("event queue", report.server.queue),
  ]);
  fill("settings", Object.entries(report.settings).map(([name, value]) => row(name, value)));
}

function showHead(report) {
  const stages = {
    serving: ["good", "● serving"], leaving: ["warn", "◔ about to drain"], draining: ["warn", "◐ draining"],
  };
  showState(...(stages[report.stage] ?? ["bad", `■ ${report.stage}`]));
  const { version, uptime_seconds: uptime } = report.server;
  document.getElementById("about").textContent = `version ${version}, up ${duration(uptime)}`;
  const memory = CHARTS.find((chart) => chart.title === "Memory for replies");
  memory.noteText.textContent = `limit ${bytes(report.buffered_bytes_limit)}`;
}

function showState(mood, text) {
  const state = document.getElementById("state");
  // Written only when it changes, or a screen reader would say it again each second.
  if (state.textContent !== text) [state.textContent, state.dataset.mood] = [text, mood];
  document.title = `Parrot ${text}`;
}

/** Marks everything as old from the time when the server was lost, or as current without one. */
function showLost(since) {
  lostAt = since;
  document.body.classList.toggle("lost", since !== null);
  if (since === null) return;
  showState("bad", `✕ not reachable since ${clock(since)}`);
  drawAll();
}

// ---- samples

function add(history) {
  for (const [name, list] of columns) {
    list.push(...history[name]);
    list.splice(0, list.length - SECONDS);
  }
  next = history.next;
}

function forget(process) {
  for (const list of columns.values()) list.length = 0;
  [server, next, cursor] = [process, 0, null];
}

async function ask() {
  const response = await fetch(`statistics?history=${next}`, { cache: "no-store", signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`the server answers ${response.status}`);
  return response.json();
}

async function update() {
  let report = await ask();
  const process = `${report.server.pid} ${report.server.started_at}`;
  if (process !== server) {
    const isFirst = server === null;
    forget(process);
    if (!isFirst) report = await ask();
  }
  showLost(null);
  add(report.history);
  newest = Date.now();
  showHead(report);
  showTables(report);
  drawAll();
}

async function poll() {
  if (!paused) {
    try {
      await update();
    } catch {
      showLost(lostAt ?? Date.now());
    }
  }
  setTimeout(poll, waitTime());
}

function waitTime() {
  return calm.matches ? 10 * SECOND : SECOND;
}

const pause = document.getElementById("pause");
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", paused);
  pause.textContent = paused ? "Resume" : "Pause";
  drawAll();
});

document.getElementById("plots").append(...CHARTS.map(makeChart));
poll();
