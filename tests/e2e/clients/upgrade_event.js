// Node's own client: switches by the 'upgrade' event, the first bytes of the new protocol in the request's packet.
//
//     node upgrade_event.js URL TOKEN EARLY LATER     prints what came, as JSON
'use strict';

const http = require('node:http');
const net = require('node:net');

const [url, token, early, later] = process.argv.slice(2);

function createConnection({ host, port }) {
  const socket = net.connect({ host, port });
  socket.write = (head, ...rest) => { // the first write is the request's head; it takes the early bytes along
    delete socket.write;
    return socket.write(head + early, ...rest);
  };
  return socket;
}

const request = http.get(url, { createConnection, headers: { Connection: 'Upgrade', Upgrade: token } });
request.on('upgrade', (response, socket, head) => {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (data) => { rest += data; });
  socket.on('end', () => {
    const { statusCode: status, headers: { upgrade } } = response;
    console.log(JSON.stringify({ status, upgrade, head: head.toString(), rest }));
  });
  socket.end(later);
});
