// Node's own client: switches by the 'upgrade' event, the first bytes of the new protocol in the request's packet.
//
//     node upgrade_event.js URL TOKEN EARLY LATER     prints what came, as JSON
'use strict';

const http = require('node:http');

const [url, token, early, later] = process.argv.slice(2);

const request = http.request(url, { headers: { Connection: 'Upgrade', Upgrade: token } });
request.on('socket', (socket) => {
  socket.cork(); // until both are there: then they leave in one write
  request.end(() => {
    socket.write(early);
    socket.uncork();
  });
});
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
