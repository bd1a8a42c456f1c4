// SPDX-License-Identifier: Apache-2.0

// Command bareredis answers GET and SET over RESP from a map, and nothing else that one would want: no log, no
// replication, no expiry, no limits. It is the mark for what the Go standard library's network leaves to a server:
// a goroutine for each connection, one read, all complete commands, one write. See redisbench.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"hash/maphash"
	"net"
	"os"
	"strconv"
	"sync"
)

const (
	shards     = 256
	bufferSize = 64 << 10
	maxWords   = 1 << 10
)

// errTooLong ends a connection whose command does not fit the buffer.
const errTooLong = "-ERR too long\r\n"

type shard struct {
	sync.RWMutex
	values map[string][]byte
}

type server struct {
	seed   maphash.Seed
	shards [shards]shard
}

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	flag.Parse()
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bareredis:", err)
		os.Exit(1)
	}
	s := &server{seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].values = make(map[string][]byte)
	}
	fmt.Println("listening on", ln.Addr())
	for {
		nc, err := ln.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "bareredis:", err)
			os.Exit(1)
		}
		go s.serve(nc)
	}
}

func (s *server) serve(nc net.Conn) {
	defer nc.Close()
	in, out := make([]byte, bufferSize), make([]byte, 0, bufferSize)
	have := 0
	var words [][]byte
	for {
		n, err := nc.Read(in[have:])
		if err != nil {
			return
		}
		have += n
		rest := in[:have]
		for {
			var size int
			if words, size = parse(rest, words[:0]); size <= 0 {
				if size < 0 || len(rest) == len(in) {
					_, _ = nc.Write([]byte(errTooLong))
					return
				}
				break
			}
			out = s.answer(out, words)
			rest = rest[size:]
		}
		have = copy(in, rest)
		if _, err := nc.Write(out); err != nil {
			return
		}
		out = out[:0]
	}
}

func (s *server) answer(out []byte, words [][]byte) []byte {
	switch {
	case len(words) == 3 && bytes.EqualFold(words[0], []byte("SET")):
		sh := &s.shards[maphash.Bytes(s.seed, words[1])%shards]
		sh.Lock()
		sh.values[string(words[1])] = append([]byte(nil), words[2]...)
		sh.Unlock()
		return append(out, "+OK\r\n"...)
	case len(words) == 2 && bytes.EqualFold(words[0], []byte("GET")):
		sh := &s.shards[maphash.Bytes(s.seed, words[1])%shards]
		sh.RLock()
		defer sh.RUnlock()
		v, ok := sh.values[string(words[1])]
		if !ok {
			return append(out, "$-1\r\n"...)
		}
		out = append(strconv.AppendInt(append(out, '$'), int64(len(v)), 10), '\r', '\n')
		return append(append(out, v...), '\r', '\n')
	case len(words) > 0 && bytes.EqualFold(words[0], []byte("CONFIG")):
		return append(out, "*0\r\n"...)
	}
	return append(out, "-ERR unknown command\r\n"...)
}

// parse takes one array of bulk strings; size is 0 when it is not complete, -1 when it is none.
func parse(src []byte, words [][]byte) (_ [][]byte, size int) {
	n, at := number(src, 0, '*')
	if at <= 0 || n > maxWords {
		return words, at
	}
	for range n {
		var length int
		if length, at = number(src, at, '$'); at <= 0 {
			return words, at
		}
		if length > bufferSize {
			return words, -1
		}
		if len(src) < at+length+2 {
			return words, 0
		}
		words = append(words, src[at:at+length])
		at += length + 2
	}
	return words, at
}

// number reads a head; next is 0 when it is not complete, -1 when it is none.
func number(src []byte, at int, kind byte) (n, next int) {
	if at >= len(src) {
		return 0, 0
	}
	if src[at] != kind {
		return 0, -1
	}
	for i := at + 1; i < len(src); i++ {
		switch c := src[i]; {
		case c >= '0' && c <= '9' && n < bufferSize:
			n = n*10 + int(c-'0')
		case c == '\r' && i+1 < len(src):
			return n, i + 2
		case c == '\r':
			return 0, 0
		default:
			return 0, -1
		}
	}
	return 0, 0
}
