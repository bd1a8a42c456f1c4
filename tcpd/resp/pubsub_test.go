// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kvorum/kvorum/shard"
)

// in3 words what RESP2 says for RESP3: pushes and nulls differ.
func in3(s string) string {
	s = strings.ReplaceAll(s, "*3\r\n$", ">3\r\n$")
	s = strings.ReplaceAll(s, "*4\r\n$8\r\npmessage", ">4\r\n$8\r\npmessage")
	return strings.ReplaceAll(s, "$-1\r\n", "_\r\n")
}

// confirmed words the confirmation of (un)subscribing.
func confirmed(verb, name string, n int) string {
	return fmt.Sprintf("*3\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n:%d\r\n", len(verb), verb, len(name), name, n)
}

// said words a message.
func said(parts ...string) string { return words(parts...) }

// TestSubscribeReplies: what Redis 7.0.15 answers to each in a row, in both protocols.
func TestSubscribeReplies(t *testing.T) {
	cannot := func(name string) string {
		return "-ERR Can't execute '" + name + "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n"
	}
	null := func(verb string, n int) string {
		return fmt.Sprintf("*3\r\n$%d\r\n%s\r\n$-1\r\n:%d\r\n", len(verb), verb, n)
	}
	for _, proto := range []int{2, 3} {
		b := newBench(t, nil, nil)
		p := b.dial()
		if proto == 3 {
			p.text("HELLO 3")
		}
		for _, c := range []struct{ line, two, three string }{
			{"SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command\r\n", ""},
			{"ssubscribe", "-ERR wrong number of arguments for 'ssubscribe' command\r\n", ""},
			{"PUBLISH a", "-ERR wrong number of arguments for 'publish' command\r\n", ""},
			{"SPUBLISH a", "-ERR wrong number of arguments for 'spublish' command\r\n", ""},
			{"PUBSUB", "-ERR wrong number of arguments for 'pubsub' command\r\n", ""},
			{"PUBSUB x", "-ERR unknown subcommand 'x'. Try PUBSUB HELP.\r\n", ""},
			{"PUBSUB channels a b", "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.\r\n", ""},
			{"PUBSUB SHARDCHANNELS a b", "-ERR unknown subcommand or wrong number of arguments for 'SHARDCHANNELS'. Try PUBSUB HELP.\r\n", ""},
			{"PUBSUB NUMPAT x", "-ERR wrong number of arguments for 'pubsub|numpat' command\r\n", ""},
			{"PUBSUB NUMSUB", "*0\r\n", ""},
			{"UNSUBSCRIBE", null("unsubscribe", 0), ""},
			{"UNSUBSCRIBE a b", confirmed("unsubscribe", "a", 0) + confirmed("unsubscribe", "b", 0), ""},
			{"PUNSUBSCRIBE", null("punsubscribe", 0), ""},
			{"SUNSUBSCRIBE", null("sunsubscribe", 0), ""},
			{"SUBSCRIBE a b a", confirmed("subscribe", "a", 1) + confirmed("subscribe", "b", 2) + confirmed("subscribe", "a", 2), ""},
			{"PSUBSCRIBE a* [ab]", confirmed("psubscribe", "a*", 3) + confirmed("psubscribe", "[ab]", 4), ""},
			{"SSUBSCRIBE a", confirmed("ssubscribe", "a", 1), ""},
			{"PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n", "+PONG\r\n"},
			{"PING x", "*2\r\n$4\r\npong\r\n$1\r\nx\r\n", "$1\r\nx\r\n"},
			{"PING x y", "-ERR wrong number of arguments for 'ping' command\r\n", ""},
			{"GET k", cannot("get"), "_\r\n"},
			{"GET", "-ERR wrong number of arguments for 'get' command\r\n", ""},
			{"NOPE", "-ERR unknown command 'NOPE', with args beginning with: \r\n", ""},
			{"PUBSUB NUMPAT", cannot("pubsub|numpat"), ":2\r\n"},
			{"PUBSUB CHANNELS", cannot("pubsub|channels"), "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
			{"SUNSUBSCRIBE x", confirmed("sunsubscribe", "x", 1), ""},
			{"UNSUBSCRIBE b c", confirmed("unsubscribe", "b", 3) + confirmed("unsubscribe", "c", 3), ""},
			{"UNSUBSCRIBE", confirmed("unsubscribe", "a", 2), ""},
			{"PUNSUBSCRIBE", confirmed("punsubscribe", "[ab]", 1) + confirmed("punsubscribe", "a*", 0), ""},
			{"GET k", cannot("get"), "_\r\n"},
			{"SUNSUBSCRIBE", confirmed("sunsubscribe", "a", 0), ""},
			{"GET k", "$-1\r\n", ""},
		} {
			want := c.two
			if proto == 3 {
				if want = c.three; want == "" {
					want = in3(c.two)
				}
			}
			p.do(c.line, want)
		}
		p.close()
		b.close()
	}
}

// TestMessages: channels, patterns and sharded channels are told apart, each receiver is counted, and
// PUBSUB tells who is there.
func TestMessages(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	two, three, from := b.dial(), b.dial(), b.dial()
	for _, p := range []*peer{two, three, from} {
		defer p.close()
	}
	three.text("HELLO 3")
	listen := confirmed("subscribe", "a", 1) + confirmed("psubscribe", "[ab]", 2) + confirmed("psubscribe", "a*", 3) + confirmed("ssubscribe", "a", 1)
	for i, p := range []*peer{two, three} {
		p.send("SUBSCRIBE a\r\nPSUBSCRIBE [ab] a*\r\nSSUBSCRIBE a\r\n")
		p.want([]string{listen, in3(listen)}[i])
	}
	from.do("PUBLISH a hello", ":6\r\n")
	from.do("SPUBLISH a world", ":2\r\n")
	from.do("PUBLISH b !", ":2\r\n")
	from.do("PUBLISH nobody !", ":0\r\n")
	from.do("SPUBLISH nobody !", ":0\r\n")
	got := said("message", "a", "hello") + said("pmessage", "[ab]", "a", "hello") + said("pmessage", "a*", "a", "hello") +
		said("smessage", "a", "world") + said("pmessage", "[ab]", "b", "!")
	two.want(got)
	three.want(in3(got))
	from.do("PUBSUB CHANNELS", "*1\r\n$1\r\na\r\n")
	from.do("PUBSUB CHANNELS b*", "*0\r\n")
	from.do("PUBSUB NUMSUB a b", "*4\r\n$1\r\na\r\n:2\r\n$1\r\nb\r\n:0\r\n")
	from.do("PUBSUB NUMPAT", ":2\r\n")
	from.do("PUBSUB SHARDCHANNELS", "*1\r\n$1\r\na\r\n")
	from.do("PUBSUB SHARDNUMSUB a c", "*4\r\n$1\r\na\r\n:2\r\n$1\r\nc\r\n:0\r\n")
	if s := from.text("CLIENT LIST TYPE PUBSUB"); strings.Count(s, " flags=P db=0 sub=1 psub=2 ssub=1 multi=-1 ") != 2 || strings.Contains(s, "flags=N") {
		t.Errorf("CLIENT LIST: %q", s)
	}
	if s := from.text("CLIENT LIST TYPE NORMAL"); strings.Contains(s, "flags=P") || !strings.Contains(s, " flags=N db=0 sub=0 psub=0 ssub=0 ") {
		t.Errorf("CLIENT LIST: %q", s)
	}
	if s := from.text("INFO stats"); !strings.Contains(s, "\r\npubsub_channels:1\r\npubsub_patterns:2\r\npubsubshard_channels:1\r\n") {
		t.Errorf("INFO: %q", s)
	}
	two.do("RESET", "+RESET\r\n")
	two.do("GET k", "$-1\r\n")
	from.do("PUBLISH a x", ":3\r\n")
	three.close()
	for from.text("PUBSUB NUMPAT") != ":0\r\n" || from.text("PUBSUB SHARDCHANNELS") != "*0\r\n" {
	}
	from.do("PUBLISH a x", ":0\r\n")
	from.do("PUBSUB CHANNELS", "*0\r\n")
	if b.h.hub.size != 0 {
		t.Errorf("%d bytes of subscriptions are left", b.h.hub.size)
	}
}

// TestSubscribeInMulti: as in Redis 7.0.15, but that one's own messages come behind the reply of EXEC and
// not inside of it.
func TestSubscribeInMulti(t *testing.T) {
	for _, proto := range []int{2, 3} {
		b := newBench(t, nil, nil)
		p, from := b.dial(), b.dial()
		word, pong := func(s string) string { return s }, "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
		if proto == 3 {
			p.text("HELLO 3")
			word, pong = in3, "+PONG\r\n"
		}
		p.send("MULTI\r\nSUBSCRIBE a b\r\nPUBLISH a x\r\nGET k\r\nPING\r\nEXEC\r\n")
		p.want("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n" +
			word(confirmed("subscribe", "a", 1)+confirmed("subscribe", "b", 2)+":1\r\n$-1\r\n") + pong + word(said("message", "a", "x")))
		p.do("UNSUBSCRIBE", word(confirmed("unsubscribe", "a", 1)+confirmed("unsubscribe", "b", 0)))
		p.do("MULTI", "+OK\r\n")
		p.do("SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command\r\n")
		p.do("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n")
		p.send("MULTI\r\nUNSUBSCRIBE\r\nPUBLISH a y\r\nSPUBLISH a z\r\nPUBSUB NUMPAT\r\nEXEC\r\n")
		p.want("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n" + word("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n") + ":0\r\n:0\r\n:0\r\n")
		p.send("MULTI\r\nSSUBSCRIBE a\r\nGET k\r\nEXEC\r\n")
		p.want("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client\r\n" + word("$-1\r\n"))
		p.do("SUBSCRIBE a", word(confirmed("subscribe", "a", 1)))
		from.send("MULTI\r\nPUBLISH a 1\r\nDISCARD\r\nWATCH w\r\nSET w 1\r\nMULTI\r\nPUBLISH a 2\r\nEXEC\r\nPUBLISH a 3\r\n")
		from.want("+OK\r\n+QUEUED\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n:1\r\n")
		p.want(word(said("message", "a", "3")))
		p.close()
		from.close()
		b.close()
	}
}

// TestPushesAndClientReply: confirmations and messages come whatever CLIENT REPLY says; SKIP is used up.
func TestPushesAndClientReply(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p, q, from := b.dial(), b.dial(), b.dial()
	for _, c := range []*peer{p, q, from} {
		defer c.close()
	}
	p.send("CLIENT REPLY OFF\r\nSUBSCRIBE a\r\n")
	p.want(confirmed("subscribe", "a", 1))
	from.do("PUBLISH a m", ":1\r\n")
	p.want(said("message", "a", "m"))
	p.send("PING\r\nUNSUBSCRIBE\r\nCLIENT REPLY ON\r\n")
	p.want(confirmed("unsubscribe", "a", 0) + "+OK\r\n")
	q.send("CLIENT REPLY SKIP\r\nSUBSCRIBE a b\r\nPING\r\n")
	q.want(confirmed("subscribe", "a", 1) + confirmed("subscribe", "b", 2) + "*2\r\n$4\r\npong\r\n$0\r\n\r\n")
	from.do("CLIENT KILL TYPE normal", ":1\r\n")
	p.ended("")
	from.do("CLIENT KILL TYPE pubsub", ":1\r\n")
	q.ended("")
}

// TestHelloWhileSubscribed: messages follow the protocol, and none of the old one comes behind the reply.
func TestHelloWhileSubscribed(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p, from := b.dial(), b.dial()
	defer p.close()
	defer from.close()
	p.text("HELLO 3")
	p.do("SUBSCRIBE a", in3(confirmed("subscribe", "a", 1)))
	from.do("PUBLISH a x", ":1\r\n")
	p.want(in3(said("message", "a", "x")))
	p.send("HELLO 2\r\n")
	p.want("*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:1\r\n" +
		"$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n")
	from.do("PUBLISH a y", ":1\r\n")
	p.want(said("message", "a", "y"))
	p.send("QUIT\r\n")
	p.ended("+OK\r\n")
}

// TestShardChannelsRedirect: with Redirect, sharded channels have slots as keys have; others have none.
func TestShardChannelsRedirect(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Redirect = true }, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	for _, c := range [][2]string{
		{"SSUBSCRIBE foo", "-MOVED 12182 10.0.0.2:7403\r\n"},
		{"SPUBLISH foo x", "-MOVED 12182 10.0.0.2:7403\r\n"},
		{"SSUBSCRIBE bar foo", "-CROSSSLOT Keys in request don't hash to the same slot\r\n"},
		{"SPUBLISH bar x", ":0\r\n"},
		{"PUBLISH foo x", ":0\r\n"},
		{"ASKING", "+OK\r\n"},
		{"SPUBLISH foo x", ":0\r\n"},
		{"SPUBLISH foo x", "-MOVED 12182 10.0.0.2:7403\r\n"},
		{"SSUBSCRIBE {bar}1 {bar}2", confirmed("ssubscribe", "{bar}1", 1) + confirmed("ssubscribe", "{bar}2", 2)},
	} {
		p.do(c[0], c[1])
	}
	p.close()
	p = b.dial()
	defer p.close()
	p.do("COMMAND INFO ssubscribe", "*1\r\n*10\r\n$10\r\nssubscribe\r\n:-2\r\n*4\r\n+pubsub\r\n+noscript\r\n+loading\r\n+stale\r\n:1\r\n:-1\r\n:1\r\n*2\r\n+@pubsub\r\n+@slow\r\n*0\r\n"+
		"*1\r\n*6\r\n$5\r\nflags\r\n*1\r\n+not_key\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n"+
		"$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n")
	p.do("SSUBSCRIBE {bar}1", confirmed("ssubscribe", "{bar}1", 1))
	b.router.lead(1, other)
	p.do("SUNSUBSCRIBE {bar}1", confirmed("sunsubscribe", "{bar}1", 0))
	p.do("SSUBSCRIBE {bar}3", "-MOVED 5061 10.0.0.2:7403\r\n")
	p.do("SUBSCRIBE foo bar", confirmed("subscribe", "foo", 1)+confirmed("subscribe", "bar", 2))
}

// otherNodes is a Bus with others behind it that count two receivers each time.
type otherNodes struct {
	mu      sync.Mutex
	got     []string
	receive func(m *shard.Message) int
}

func (o *otherNodes) Publish(_ context.Context, m *shard.Message) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.got = append(o.got, fmt.Sprintf("%t %s %s", m.Sharded, m.Channel, m.Data))
	return 2
}

func (o *otherNodes) Receive(f func(m *shard.Message) int) { o.receive = f }
func (o *otherNodes) Dropped() uint64                      { return 7 }

// TestOtherNodes: what is published goes to the bus as well, what comes from there goes to subscribers.
func TestOtherNodes(t *testing.T) {
	var bus otherNodes
	b := newBench(t, func(c *Config) { c.Bus = &bus }, nil)
	defer b.close()
	p, from := b.dial(), b.dial()
	defer p.close()
	defer from.close()
	p.do("SUBSCRIBE a", confirmed("subscribe", "a", 1))
	from.do("PUBLISH a x", ":3\r\n")
	from.do("SPUBLISH a y", ":2\r\n")
	p.want(said("message", "a", "x"))
	if got := strings.Join(bus.got, ";"); got != "false a x;true a y" {
		t.Errorf("published %s", got)
	}
	if n := bus.receive(&shard.Message{Channel: []byte("a"), Data: []byte("z")}); n != 1 {
		t.Errorf("%d receivers", n)
	}
	if n := bus.receive(&shard.Message{Sharded: true, Channel: []byte("a"), Data: []byte("z")}); n != 0 {
		t.Errorf("%d receivers", n)
	}
	p.want(said("message", "a", "z"))
	if s := from.text("INFO stats"); !strings.Contains(s, "\r\npubsub_dropped_messages:7\r\n") {
		t.Errorf("INFO: %q", s)
	}
}

// TestManySubscriptions: a connection that would take more memory than allowed is told so, and goes on.
func TestManySubscriptions(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	pad := strings.Repeat("x", 1<<20)
	for i := range maxSubscribed >> 20 {
		want := confirmed("subscribe", fmt.Sprint(i, pad), i+1)
		if i == maxSubscribed>>20-1 {
			want = "-ERR too many subscriptions\r\n"
		}
		go p.send(words("SUBSCRIBE", fmt.Sprint(i, pad)))
		p.want(want)
	}
	p.do("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n")
	p.do("RESET", "+RESET\r\n")
	p.do("SUBSCRIBE a", confirmed("subscribe", "a", 1))
	if n := b.h.hub.size; n != subscriptionSize([]byte("a")) {
		t.Errorf("%d bytes are counted", n)
	}
}

// Goal: whoever publishes whatever meanwhile, no message of a channel comes before the confirmation of its
// subscription or behind that of its end, and the messages of each publisher come in their order. Method:
// readers come and go while writers publish numbers, and every frame is looked at.
func TestMessagesInOrder(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	const writers, readers, rounds = 3, 3, 60
	stop := make(chan struct{})
	var publishing, reading sync.WaitGroup
	for w := range writers {
		p := b.dial()
		publishing.Go(func() {
			defer p.close()
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				p.send(fmt.Sprintf("PUBLISH c %d:%d\r\n", w, i))
				for p.got = nil; !strings.HasSuffix(string(p.got), "\n"); {
					p.fill()
				}
			}
		})
	}
	for range readers {
		p := b.dial()
		reading.Go(func() {
			defer p.close()
			for range rounds {
				p.send("SUBSCRIBE c\r\n")
				p.want(confirmed("subscribe", "c", 1))
				last := make(map[string]int)
				for range 20 {
					p.number(t, last)
				}
				p.send("UNSUBSCRIBE c\r\n")
				for p.number(t, last) {
				}
				p.want(confirmed("unsubscribe", "c", 0))
				p.do("ECHO quiet", "$5\r\nquiet\r\n")
			}
		})
	}
	reading.Wait()
	close(stop)
	publishing.Wait()
}

// Goal: a connection for which messages wait without end still has its commands answered.
func TestAnswersInAFlood(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	p.do("SUBSCRIBE a", confirmed("subscribe", "a", 1))
	ctx, cancel := context.WithCancel(t.Context())
	var w *writer
	for sub := range b.h.hub.by[channels]["a"] {
		w = sub.w
	}
	full := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.queued > 1<<20
	}
	var flood sync.WaitGroup
	flood.Go(func() {
		m := shard.Message{Channel: []byte("a"), Data: make([]byte, 64<<10)}
		for ctx.Err() == nil {
			if full() {
				runtime.Gosched()
			} else {
				b.h.hub.publish(&m)
			}
		}
	})
	for !full() {
		runtime.Gosched()
	}
	for range 20 {
		p.send("PING\r\n")
		for read := 0; !strings.Contains(string(p.got), "pong"); read += len(p.got) {
			p.got = p.got[max(0, len(p.got)-8):]
			if p.fill(); read > 64<<20 {
				t.Fatal("no answer in 64 MiB of messages")
			}
		}
		p.got = nil
	}
	cancel()
	flood.Wait()
}

// fill reads once.
func (p *peer) fill() {
	chunk := make([]byte, 4<<10)
	n, err := p.nc.Read(chunk)
	if p.got = append(p.got, chunk[:n]...); err != nil {
		p.t.Error(err)
		p.got = []byte("unsub\n")
	}
}

// number takes a message "writer:number" off the stream, false for another frame.
func (p *peer) number(t *testing.T, last map[string]int) bool {
	const head = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$"
	for len(p.got) < len(head)+16 && !strings.Contains(string(p.got), "unsub") {
		p.fill()
	}
	if !strings.HasPrefix(string(p.got), head) {
		return false
	}
	_, rest, _ := strings.Cut(string(p.got[len(head):]), "\r\n")
	body, rest, ok := strings.Cut(rest, "\r\n")
	from, text, _ := strings.Cut(body, ":")
	n, err := strconv.Atoi(text)
	if !ok || err != nil || last[from] > 0 && n != last[from]+1 {
		t.Errorf("behind %d of writer %s: %q", last[from], from, body)
	}
	last[from] = n
	p.got = []byte(rest)
	return true
}
