// Node: a page, `ws` at /echo and /broadcast, ADDONE at any other offer. node node.js PORT, with ws in NODE_PATH.
'use strict';

const http = require('node:http');
const { WebSocketServer } = require('ws');

const server = http.createServer((request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 6 });
  response.end('hello\n');
});
server.keepAliveTimeout = 60000;

const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: { threshold: 256 } });
const everybody = new Set();

sockets.on('connection', (socket, request) => {
  socket.on('error', () => {});
  if (request.url === '/broadcast') {
    everybody.add(socket);
    socket.on('close', () => everybody.delete(socket));
    socket.on('message', (data, binary) => {
      for (const one of everybody) one.send(data, { binary, compress: false });
    });
  } else {
    socket.on('message', (data, binary) => socket.send(data, { binary }));
  }
});

const addOne = (socket, head) => {
  let rest = '';
  const take = (data) => {
    const lines = (rest + data.toString('latin1')).split('\n');
    rest = lines.pop();
    if (lines.length) socket.write(lines.map((line) => `${parseInt(line, 10) + 1}\n`).join(''));
  };
  socket.setNoDelay(true);
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: addone\r\n\r\n');
  socket.on('data', take);
  socket.on('end', () => socket.end());
  socket.on('error', () => {});
  if (head.length) take(head);
};

server.on('upgrade', (request, socket, head) => {
  if (/^websocket$/i.test(request.headers.upgrade)) {
    sockets.handleUpgrade(request, socket, head, (opened) => sockets.emit('connection', opened, request));
  } else {
    addOne(socket, head);
  }
});

server.listen(Number(process.argv[2]), '127.0.0.1', 1024);
