// Go's standard library: a page, and ADDONE on a hijacked connection. server PORT
package main

import (
	"bufio"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
)

const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: addone\r\n\r\n"

func addOne(connection net.Conn, in *bufio.Reader) {
	defer connection.Close()
	out := bufio.NewWriter(connection)
	out.WriteString(switched)
	out.Flush()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		value, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			return
		}
		out.WriteString(strconv.FormatInt(value+1, 10))
		out.WriteByte('\n')
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
}

func serve(response http.ResponseWriter, request *http.Request) {
	if request.Header.Get("Upgrade") == "" {
		response.Header().Set("Content-Type", "text/plain")
		response.Write([]byte("hello\n"))
		return
	}
	connection, buffered, err := response.(http.Hijacker).Hijack()
	if err == nil {
		addOne(connection, buffered.Reader)
	}
}

func main() {
	http.HandleFunc("/", serve)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
