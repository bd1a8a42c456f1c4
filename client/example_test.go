// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/kvorum/kvorum/client"
)

func ExampleDial() {
	ctx := context.Background()
	c, err := client.Dial(ctx, []string{"127.0.0.1:7402", "127.0.0.1:7412"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.SetFor(ctx, "greeting", []byte("hello"), time.Hour); err != nil {
		log.Fatal(err)
	}
	value, ok, err := c.Get(ctx, "greeting")
	fmt.Println(string(value), ok, err)
}

// An error says whether the command may have been applied.
func ExampleErrUnknown() {
	var c *client.Client // from Dial
	_, err := c.Del(context.Background(), "a", "b")
	switch {
	case errors.Is(err, client.ErrNotApplied):
		fmt.Println("send it again")
	case errors.Is(err, client.ErrUnknown):
		fmt.Println("read before you send it again")
	}
}

// Compare and set: read the version, write under it, try again when somebody was faster.
func ExampleClient_SetIf() {
	var c *client.Client // from Dial
	ctx := context.Background()
	for {
		e, _, err := c.GetEntry(ctx, "counter")
		if err != nil {
			log.Fatal(err)
		}
		_, err = c.SetIf(ctx, "counter", append(e.Value, '+'), e.Version)
		if !errors.Is(err, client.ErrVersion) {
			return
		}
	}
}

// Futures run in any order and are tried again where that is safe.
func ExampleClient_Go() {
	var c *client.Client // from Dial
	ctx := context.Background()
	first, second := c.Go(ctx, client.IncrBy("a", 1)), c.Go(ctx, client.IncrBy("b", 1))
	a, errA := first.Int(ctx)
	b, errB := second.Int(ctx)
	fmt.Println(a, errA, b, errB)
}

// A pipeline keeps the order of the commands on each key.
func ExamplePipeline() {
	var c *client.Client // from Dial
	ctx := context.Background()
	p := c.Pipeline()
	p.Do(ctx, client.Set("log", nil))
	p.Do(ctx, client.Append("log", []byte("one ")))
	last := p.Do(ctx, client.Append("log", []byte("two")))
	length, err := last.Int(ctx)
	fmt.Println(length, err)
}

// A Conn is one connection for one goroutine: a write and a read for a call.
func ExampleDialConn() {
	ctx := context.Background()
	conn, err := client.DialConn(ctx, "127.0.0.1:7402")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	value, err := conn.Do(ctx, client.Get("greeting"))
	fmt.Println(string(value.Str), err)
}
