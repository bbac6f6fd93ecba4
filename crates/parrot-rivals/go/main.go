// An echo server with Go's net package and a goroutine per connection, as it is usually written.
//
// With "copy" as its second argument it uses io.Copy, which on Linux moves the bytes from socket to socket inside the
// kernel (splice). That costs more for small messages and less for large ones.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: rival-go PORT [copy]")
	}
	echo := readAndWrite
	if len(os.Args) > 2 && os.Args[2] == "copy" {
		echo = copyAll
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			continue
		}
		go echo(connection)
	}
}

func readAndWrite(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 8192)
	for {
		count, err := connection.Read(buffer)
		if count > 0 {
			if _, err := connection.Write(buffer[:count]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func copyAll(connection net.Conn) {
	defer connection.Close()
	io.Copy(connection, connection)
}
