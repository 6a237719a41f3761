"use strict";

// What the log holds: when there is more, the oldest lines go, and a long text is cut.
const LINES = 100;
const CHARACTERS = 2000;

const box = document.getElementById("box");
const state = document.getElementById("state");
const again = document.getElementById("again");
const log = document.getElementById("log");
const message = document.getElementById("message");
const send = document.getElementById("send");

let socket;
let unanswered; // when each message was sent that has not come back

function connect() {
  const url = new URL("/echo", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new WebSocket(url);
  unanswered = [];
  show("connecting", "connecting");
  socket.onopen = () => show("open", "open");
  socket.onclose = (event) => show("closed", `closed with code ${event.code}${event.reason && `: ${event.reason}`}`);
  socket.onmessage = (event) => {
    const sent = unanswered.shift();
    const trip = sent === undefined ? "" : `${(performance.now() - sent).toFixed(1)} ms`;
    note("received", typeof event.data === "string" ? event.data : `${event.data.size} bytes`, trip);
  };
}

function show(name, sentence) {
  if (name !== "closed" && document.activeElement === again) message.focus(); // the button is about to go
  state.dataset.state = name;
  state.textContent = sentence;
  send.disabled = name !== "open";
  again.hidden = name !== "closed";
}

function note(kind, text, trip) {
  const line = document.createElement("li");
  line.dataset.kind = kind;
  for (const content of [kind, text.slice(0, CHARACTERS), trip]) {
    line.append(Object.assign(document.createElement("span"), { textContent: content }), " ");
  }
  log.append(line);
  if (log.childElementCount > LINES) log.firstElementChild.remove();
  log.scrollTop = log.scrollHeight;
}

box.addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN) return;
  note("sent", message.value, "");
  unanswered.push(performance.now());
  socket.send(message.value);
  message.value = "";
  message.focus();
});
again.addEventListener("click", connect);

box.hidden = false;
connect();
