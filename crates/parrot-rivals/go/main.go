// An echo server with Go's net package and a goroutine per connection, as it is usually written.
//
// With "copy" as its second argument it uses io.Copy, which on Linux moves the bytes from socket to socket inside the
// kernel (splice). That costs more for small messages and less for large ones. With "unix" its first argument is the
// path of a Unix socket. With "udp" it is an echo server for datagrams, in one goroutine.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: rival-go PORT [copy | udp], or rival-go PATH unix")
	}
	network, address, echo, variant := "tcp4", "127.0.0.1:"+os.Args[1], readAndWrite, ""
	if len(os.Args) > 2 {
		variant = os.Args[2]
	}
	switch variant {
	case "copy":
		echo = copyAll
	case "udp":
		echoDatagrams(address)
	case "unix":
		network, address = "unix", os.Args[1]
	}
	listener, err := net.Listen(network, address)
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

// It uses addresses without pointers, which are not allocated for each datagram.
func echoDatagrams(address string) {
	local, err := net.ResolveUDPAddr("udp4", address)
	if err != nil {
		log.Fatal(err)
	}
	socket, err := net.ListenUDP("udp4", local)
	if err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 65535)
	for {
		count, peer, err := socket.ReadFromUDPAddrPort(buffer)
		if err != nil {
			continue
		}
		socket.WriteToUDPAddrPort(buffer[:count], peer)
	}
}
