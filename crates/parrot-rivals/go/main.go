// Go's net package, a goroutine a connection: how an echo server is written in Go.
//
// With "copy" as its second argument it leaves the loop to io.Copy, which on Linux moves the bytes from socket to
// socket inside the kernel (splice): dearer for small messages, cheaper for large ones.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("the arguments are a port and, if wanted, copy")
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
