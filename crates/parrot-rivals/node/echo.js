// An echo server with Node's net module. The pipe stops reading while its output is full.
const net = require("node:net");

const port = Number(process.argv[2]);
if (!port) {
  console.error("usage: node echo.js PORT");
  process.exit(2);
}
net
  .createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  })
  .listen({ port, host: "127.0.0.1", backlog: 4096 });
