"use strict";

// The page as a function of what the feed tells. Whatever comes from there is put in as text, never as HTML.

const EVENTS = 200; // that are kept, and as many refusals: what the server remembers
const SPOKEN_MS = 10000; // between two summaries of events for a screen reader
const FIRST_WAIT_MS = 1000; // before connecting again, doubled each time
const LONGEST_WAIT_MS = 15000;
const QUIET_TICKS = 5; // without news, after which the server is taken for gone
const TYPING_MS = 300; // after the last key, before what is to be found is asked for

const BAD = new Set(["refused", "ignored", "rejected", "dropped", "nosession", "overbudget", "overflowed"]);
const WORDS = { nosession: "no TLS", overbudget: "no room", memorypressure: "memory", notreloaded: "not reloaded" };

const id = (name) => document.getElementById(name);
const number = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

let socket;
let wait = FIRST_WAIT_MS;
let retry; // the timer of the next attempt
let seen = 0; // when the server was last heard of
let every = 2;
let most = 300;
let held = false;
let asked = false; // whether somebody waits for connections: they are shown, held or not
let samples = [];
let events = [];
let happened = 0; // events that there have been, shown or not
let unspoken = {};
let state = "";
let layout = { listeners: [], switches: [] };
let counts = { connections: 0, switched: 0, stacks: [], other_stacks: 0 };
let page = { total: 0, matching: 0, first: 0, rows: [] };
let before = new Map(); // of each row: when it was told, its bytes, and its rates
const query = { text: "", sort: "age", descending: true, first: 0, most: 50 };

// A key comes in the fragment, which no server ever sees, and is not left in the address or in the history.
let key = null;
let mayUntil = 0;

function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given === null) return;
  key = given;
  history.replaceState(null, "", location.pathname + location.search);
  say({ key });
}

// The feed

function connect() {
  clearTimeout(retry);
  id("again").setAttribute("aria-disabled", true);
  const url = new URL("feed", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const mine = (socket = new WebSocket(url));
  mine.onmessage = (event) => hear(JSON.parse(event.data));
  mine.onclose = (event) => mine === socket && gone(event);
}

function gone(event) {
  const last = seen ? `, last seen at ${clock.format(seen)}` : "";
  const how = event.code === 1001 ? "The server has stopped" : "The server has gone";
  show("gone", `${how}${last}. Trying again in ${Math.round(wait / 1000)} s.`);
  id("again").setAttribute("aria-disabled", false);
  renderAgain();
  mayUntil = 0;
  renderMay();
  retry = setTimeout(connect, wait);
  wait = Math.min(wait * 2, LONGEST_WAIT_MS);
}

// Whether it can be said.
function say(message) {
  const can = socket?.readyState === WebSocket.OPEN;
  if (can) socket.send(JSON.stringify(message));
  return can;
}

const HEARD = {
  hello(told) {
    wait = FIRST_WAIT_MS;
    every = told.every;
    most = told.most;
    samples = told.history;
    events = [];
    happened = 0;
    before = new Map();
    id("version").textContent = told.version;
    hearNews(told);
    say({ show: query });
    if (key !== null) say({ key });
  },
  tick(told) {
    samples = [...samples, told.sample].slice(-most);
    for (const event of told.events) unspoken[event.kind] = (unspoken[event.kind] ?? 0) + 1;
    hearNews(told);
  },
  rows(told) {
    hearRows(told);
    if (!held || asked) renderConnections();
    asked = false;
  },
  may(told) {
    mayUntil = Date.now() + told.seconds * 1000;
    if (told.seconds) speak(`You may close connections for ${count(Math.ceil(told.seconds / 60), "minute")}.`);
    else {
      key = null;
      note("The key is not good any more: `switchd ctl console` gives another.");
    }
    renderMay();
  },
  closed: (told) => note(`${count(told.connections, "connection")} being closed.`),
  not_closed: (told) => note(`Not closed: ${told.why}.`),
};

function hearNews(told) {
  state = told.state;
  counts = told.counts;
  layout = told.layout ?? layout;
  happened += told.missed + told.events.length;
  events = lastOf([...events, ...told.events]);
  hearRows(told);
  renderAll();
}

// Refusals are kept by themselves, lest all the rest push them out.
function lastOf(all) {
  const some = (bad) => all.filter((event) => BAD.has(event.kind) === bad).slice(-EVENTS);
  const kept = new Set([...some(true), ...some(false)]);
  return all.filter((event) => kept.has(event));
}

function hearRows(told) {
  page = told.connections;
  before = new Map(page.rows.map((row) => [row.id, rated(row, told.now)]));
  const last = Math.max(0, Math.ceil(page.matching / query.most) - 1) * query.most;
  if (query.first > last && !held) want({ first: last }); // there are not so many any more
}

function hear(told) {
  seen = Date.now();
  HEARD[told.kind]?.(told);
}

// Bytes a second, from what a row had when it was told before.
function rated(row, now) {
  const last = before.get(row.id);
  const known = { now, received: row.received, sent: row.sent, rates: last?.rates ?? null };
  if (!last || row.received === null) return known;
  const seconds = now - last.now;
  if (seconds < every / 2) return { ...last };
  known.rates = [row.received - last.received, row.sent - last.sent].map((bytes) => Math.max(0, bytes / seconds));
  return known;
}

// Words

function count(n, what) {
  return `${number.format(n)} ${what}${n === 1 ? "" : "s"}`;
}

function scaled(value, units, step) {
  let unit = 0;
  while (value >= step && unit < units.length - 1) [value, unit] = [value / step, unit + 1];
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)}\u00a0${units[unit]}`;
}

const bytes = (value) => (value === null ? "–" : scaled(value, ["B", "kB", "MB", "GB", "TB"], 1000));
const rate = (value) => (value === null ? "–" : `${bytes(value)}/s`);
const few = (value) => (value === null ? "–" : value < 10 ? String(+value.toFixed(1)) : number.format(Math.round(value)));

function lasting(seconds) {
  for (const [size, unit, below, smaller] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ${Math.floor((seconds % size) / below)} ${smaller}`;
  }
  return `${Math.floor(seconds)} s`;
}

// What is on the page

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function show(name, sentence) {
  id("state").dataset.state = name;
  set(id("state"), sentence);
}

// What came of something that somebody has done: it stays until there is something else to say.
function note(sentence) {
  set(id("outcome"), sentence);
}

// To those who listen: who looks sees it anyway.
function speak(sentence) {
  id("spoken").textContent = sentence;
}

// Brings the children of an element in line with a list, keeping those that are there, and with them the focus.
function keep(parent, items, keyOf, create, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const focused = document.activeElement;
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(keyOf(item));
    const child = old.get(name) ?? create(item);
    child.dataset.key = name;
    old.delete(name);
    update?.(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of old.values()) child.remove();
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

function renderAll() {
  if (socket.readyState === WebSocket.OPEN) show(state, { ready: "Ready", starting: "Starting", draining: "Stopping" }[state] ?? state);
  renderAgain();
  renderMay();
  if (held) return;
  set(id("counts"), `${count(counts.connections, "connection")}, ${number.format(counts.switched)} switched`);
  renderStacks();
  renderGraphs();
  renderLayout();
  renderEvents();
  renderConnections();
}

// It goes when it is of no use, but not away from under somebody's focus.
function renderAgain() {
  const useless = socket.readyState === WebSocket.OPEN;
  id("again").hidden = useless && document.activeElement !== id("again");
}

function renderStacks() {
  const other = counts.other_stacks ? [["others", counts.other_stacks]] : [];
  keep(
    id("stacks"),
    [...counts.stacks, ...other],
    ([stack]) => stack,
    ([stack]) => make("li", {}, make("b"), ` ${stack}`),
    (item, [, n]) => set(item.firstChild, number.format(n)),
  );
}

function renderConnections() {
  const { rows, first, matching, total } = page;
  const range = rows.length ? `${number.format(first + 1)} to ${number.format(first + rows.length)} of ` : "";
  const all = matching === total ? count(total, "connection") : `${number.format(matching)} found in ${number.format(total)}`;
  set(id("shown"), range + all);
  id("before").disabled = first === 0;
  id("after").disabled = first + rows.length >= matching;
  for (const button of document.querySelectorAll("[data-sort]")) {
    const order = query.descending ? "descending" : "ascending";
    if (button.dataset.sort === query.sort) button.parentElement.setAttribute("aria-sort", order);
    else button.parentElement.removeAttribute("aria-sort");
  }
  keep(id("rows"), rows, (row) => row.id, createRow, updateRow);
}

function createRow(row) {
  const close = make("button", { type: "button", textContent: "Close" });
  close.setAttribute("aria-label", `Close ${row.id}`);
  close.onclick = () => ask(`${row.id}, ${row.protocols}${row.path && ` on ${row.path}`}`, { ids: [row.id] });
  const carried = () => make("td", { className: "number" }, make("small"), make("span"));
  const line = make("tr");
  line.append(
    make("td"),
    make("td"),
    make("td", { className: "path" }),
    make("td"),
    make("td", { className: "several" }),
    make("td", { className: "number" }),
    carried(),
    carried(),
    make("td", { className: "closing" }, close),
  );
  return line;
}

function updateRow(line, row) {
  const cells = line.children;
  const rates = before.get(row.id)?.rates;
  line.dataset.closing = row.closing;
  const texts = [row.id, row.protocols, row.path || "–", row.peer, row.listener, lasting(row.age)];
  texts.forEach((text, i) => set(cells[i], text));
  ["received", "sent"].forEach((name, i) => {
    const [speed, amount] = cells[6 + i].children;
    set(amount, bytes(row[name]));
    set(speed, rates?.[i] ? rate(rates[i]) : "");
  });
  cells[8].firstChild.disabled = row.closing;
}

function renderLayout() {
  document.body.toggleAttribute("data-several", layout.listeners.length > 1);
  const otherwise = (one) => (one.require ? "must switch (426)" : one.close ? "closed if nobody takes it" : "ordinary HTTP");
  keep(
    id("switches"),
    layout.switches.map((one, index) => ({ ...one, index })),
    (one) => `${one.index} ${JSON.stringify(one)}`,
    (one) => {
      const close = make("button", { type: "button", textContent: "Close all" });
      close.setAttribute("aria-label", `Close all on ${one.path}`);
      close.onclick = () => ask(`all that have switched on ${one.path} or below`, { path: one.path });
      return make(
        "tr",
        {},
        make("td", { className: "path" }, one.path),
        make("td", {}, one.protocol),
        make("td", { className: "name" }, one.tokens.join(", ")),
        make("td", {}, otherwise(one)),
        make("td", { className: "closing" }, close),
      );
    },
  );
  keep(
    id("listeners"),
    layout.listeners.map((one, index) => ({ ...one, index })),
    (one) => `${one.index} ${one.endpoint} ${one.address}`,
    (one) => make("tr", {}, make("td", { className: "name" }, one.address), make("td", { className: "name" }, one.endpoint)),
  );
}

function renderEvents() {
  const kinds = id("kinds").value;
  const shown = events.filter((event) => !kinds || kinds.split(" ").includes(event.kind)).reverse();
  keep(
    id("log"),
    shown,
    (event) => event.number,
    (event) => {
      const time = new Date(event.time * 1000);
      const line = make(
        "li",
        {},
        make("time", { dateTime: time.toISOString() }, clock.format(time)),
        make("b", {}, WORDS[event.kind] ?? event.kind),
        make("span", {}, event.what),
      );
      line.dataset.kind = event.kind;
      line.toggleAttribute("data-bad", BAD.has(event.kind));
      if (event.why) line.append(make("small", {}, event.why));
      return line;
    },
  );
  const missed = happened - events.length;
  id("missed").hidden = missed === 0;
  set(id("missed"), `${number.format(missed)} more not shown`);
}

function renderMay() {
  const left = mayUntil - Date.now();
  const may = left > 0;
  if (!may && document.body.hasAttribute("data-may")) speak("You may not close connections any more.");
  document.body.toggleAttribute("data-may", may);
  id("may").hidden = !may;
  if (may) set(id("may"), `You may close connections for ${count(Math.ceil(left / 60000), "minute")} more.`);
}

setInterval(() => {
  const said = Object.entries(unspoken).map(([kind, n]) => `${number.format(n)} ${WORDS[kind] ?? kind}`);
  unspoken = {};
  if (said.length && !held) speak(said.join(", "));
}, SPOKEN_MS);

// Graphs. A sample is [time, connections, switches, refusals, received, sent, lag, memory].

const GRAPHS = [
  { title: "Connections", columns: [1], words: few, least: 5 },
  { title: "Switches a second", columns: [2], words: few, least: 1 },
  { title: "Refusals a second", columns: [3], words: few, least: 1 },
  { title: "Traffic", columns: [4, 5], names: ["in", "out"], words: rate, least: 1000 },
  { title: "Reactor late by", columns: [6], words: (value) => `${few(value * 1000)} ms`, least: 0.01 },
  { title: "Memory", columns: [7], words: bytes, least: 1e6 },
];
const LEAST_SPAN_S = 60; // that a graph shows, however little there is
const WIDTH = 300;
const HEIGHT = 60;

function svg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

for (const graph of GRAPHS) {
  graph.paths = graph.columns.map((_, i) => svg("path", { class: i ? "second" : "first" }));
  graph.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  graph.picture.append(...graph.paths);
  graph.nows = graph.columns.map((_, i) => make("b", { className: i ? "second" : "first" }));
  graph.scale = make("span");
  graph.span = make("span");
  const caption = make("figcaption", {}, make("span", {}, graph.title), make("span", { className: "nows" }, ...graph.nows));
  id("graphs").append(make("figure", {}, caption, graph.picture, make("p", { className: "scale" }, graph.span, graph.scale)));
}

function renderGraphs() {
  const end = samples.at(-1)?.[0] ?? 0;
  const span = Math.min(every * most, Math.max(LEAST_SPAN_S, end - (samples[0]?.[0] ?? 0)));
  for (const graph of GRAPHS) {
    const lines = graph.columns.map((column) => samples.map((sample) => [sample[0], sample[column]]));
    const values = lines.flat().map(([, value]) => value).filter((value) => value !== null);
    const top = Math.max(graph.least, ...values);
    graph.paths.forEach((path, i) => path.setAttribute("d", drawn(lines[i], end - span, span, top)));
    const last = lines.map((line) => line.at(-1)?.[1] ?? null);
    const now = last.map((value, i) => (graph.names ? `${graph.names[i]} ` : "") + (value === null ? "–" : graph.words(value)));
    graph.nows.forEach((element, i) => set(element, now[i]));
    set(graph.scale, `up to ${graph.words(top)}`);
    set(graph.span, `${Math.round(span / 60)} min`);
    const most = values.length ? `at most ${graph.words(Math.max(...values))}` : "nothing yet";
    graph.picture.setAttribute("aria-label", `${graph.title}: now ${now.join(", ")}; ${most}`);
  }
}

function drawn(line, start, span, top) {
  let pen = "M";
  return line
    .map(([time, value]) => {
      if (value === null) return void (pen = "M") ?? "";
      const x = ((time - start) / span) * WIDTH;
      const y = HEIGHT - 1 - (value / top) * (HEIGHT - 3);
      const step = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
      return step;
    })
    .join("");
}

// What people do

function want(change) {
  Object.assign(query, change);
  asked = true;
  say({ show: query });
}

let typing;
id("find").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => want({ text: id("find").value, first: 0 }), TYPING_MS);
});
id("before").addEventListener("click", () => want({ first: Math.max(0, query.first - query.most) }));
id("after").addEventListener("click", () => want({ first: query.first + query.most }));
for (const button of document.querySelectorAll("[data-sort]")) {
  button.addEventListener("click", () => {
    const again = query.sort === button.dataset.sort;
    want({ sort: button.dataset.sort, descending: again ? !query.descending : button.closest(".number") !== null, first: 0 });
  });
}
id("kinds").addEventListener("change", renderEvents);
id("again").addEventListener("click", () => {
  if (id("again").getAttribute("aria-disabled") !== "true") connect();
});
id("hold").addEventListener("click", () => {
  held = !held;
  id("hold").setAttribute("aria-pressed", held);
  renderAll();
});

let order;
function ask(what, named) {
  order = named;
  set(id("question"), `Close ${what}?`);
  id("closing").showModal();
}
function decide(now) {
  if (say({ close: { ...order, now } })) note("");
  else note("Not closed: the server is not connected.");
  id("closing").close();
}
id("goodbye").addEventListener("click", () => decide(false));
id("abort").addEventListener("click", () => decide(true));
id("cancel").addEventListener("click", () => id("closing").close());

addEventListener("hashchange", takeKey);

// A network that is gone closes nothing by itself, nor does a key that is not good any more say so.
setInterval(() => {
  if (mayUntil) renderMay();
  if (socket.readyState === WebSocket.OPEN && Date.now() - seen > QUIET_TICKS * every * 1000) {
    socket.onclose = null;
    socket.close();
    gone({ code: 1006 });
  }
}, 1000);

takeKey();
connect();
