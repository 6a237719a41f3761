// Node's http2, in clear: a page, and by extended CONNECT `ws` or ADDONE. node node_http2.js PORT, with ws in NODE_PATH.
'use strict';

const { createServer } = require('node:http2');
const WebSocket = require('ws');

const server = createServer({ settings: { enableConnectProtocol: true } }, (request, response) => {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': 6 });
  response.end('hello\n');
});

const echo = (stream) => {
  const socket = new WebSocket(null, undefined, {});
  socket.on('error', () => {});
  socket.on('message', (data, binary) => socket.send(data, { binary }));
  stream.setNoDelay = () => {};
  socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 16 * 1024 * 1024 });
};

const addOne = (stream) => {
  let rest = '';
  stream.on('data', (data) => {
    const lines = (rest + data.toString('latin1')).split('\n');
    rest = lines.pop();
    if (lines.length) stream.write(lines.map((line) => `${parseInt(line, 10) + 1}\n`).join(''));
  });
  stream.on('end', () => stream.end());
};

server.on('connect', ({ stream, headers }) => {
  stream.on('error', () => {});
  stream.respond({ ':status': 200 });
  if (headers[':protocol'] === 'websocket') echo(stream);
  else addOne(stream);
});

server.listen(Number(process.argv[2]), '127.0.0.1', 1024);
