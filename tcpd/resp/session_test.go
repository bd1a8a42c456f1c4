// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

// TestPipelineInOrder: commands of the router and of the connection, good and bad, are answered in their
// order, those in a row of the router in one call.
func TestPipelineInOrder(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	p.send(words("SET", "k", "v") + words("GET", "k") + words("get", "absent") + words("PING") + words("NOPE", "a") + words("INCR", "k") +
		words("GET") + words("LPUSH", "l", "a", "b") + words("LPOP", "x", "2") + words("ECHO", "end"))
	p.want("+OK\r\n$1\r\nv\r\n$-1\r\n+PONG\r\n-ERR unknown command 'NOPE', with args beginning with: 'a' \r\n" +
		"-ERR value is not an integer or out of range\r\n-ERR wrong number of arguments for 'get' command\r\n:2\r\n*-1\r\n$3\r\nend\r\n")
	if n := b.router.Calls.Load(); n != 2 {
		t.Errorf("%d router calls, want 2", n)
	}
}

// TestManyCommandsInOneWrite: a pipeline longer than a batch, in both protocols.
func TestManyCommandsInOneWrite(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	for _, hello := range []string{"2", "3"} {
		p.text("HELLO " + hello)
		var in, want strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&in, "%s", words("SET", fmt.Sprint("k", i), fmt.Sprint(i))+words("GET", fmt.Sprint("k", i)))
			fmt.Fprintf(&want, "+OK\r\n$%d\r\n%d\r\n", len(fmt.Sprint(i)), i)
		}
		go p.send(in.String())
		p.want(want.String())
	}
}

// TestLargeValues go in and out whole, and the connection goes on.
func TestLargeValues(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	big := strings.Repeat("0123456789abcdef", 1<<16)
	go p.send(words("SET", "big", big) + words("GET", "big") + words("PING"))
	p.want("+OK\r\n$1048576\r\n" + big + "\r\n+PONG\r\n")
}

func TestHelloAndProtocols(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	p.do("HSET h f v", ":1\r\n")
	p.do("HGETALL h", "*2\r\n$1\r\nf\r\n$1\r\nv\r\n")
	p.do("HELLO 3 SETNAME me", "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n"+
		"$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n")
	p.do("HGETALL h", "%1\r\n$1\r\nf\r\n$1\r\nv\r\n")
	p.do("GET absent", "_\r\n")
	p.do("CLIENT GETNAME", "$2\r\nme\r\n")
	p.do("RESET", "+RESET\r\n")
	p.do("CLIENT GETNAME", "$-1\r\n")
}

// TestConnectionCommands: replies and errors as Redis 7.0.15 gives them.
func TestConnectionCommands(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	for _, c := range [][2]string{
		{"ping a", "$1\r\na\r\n"},
		{"ping a b", "-ERR wrong number of arguments for 'ping' command\r\n"},
		{"echo", "-ERR wrong number of arguments for 'echo' command\r\n"},
		{"hello 4", "-NOPROTO unsupported protocol version\r\n"},
		{"hello a", "-ERR Protocol version is not an integer or out of range\r\n"},
		{"hello 3 auth x", "-ERR Syntax error in HELLO option 'auth'\r\n"},
		{"hello 3 auth a b", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
		{`hello 3 setname "a b"`, "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"},
		{"hello 3 foo", "-ERR Syntax error in HELLO option 'foo'\r\n"},
		{"auth foo", "-" + textNoPassword + "\r\n"},
		{"auth a b", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
		{"auth default b", "+OK\r\n"},
		{"auth a b c", "-ERR syntax error\r\n"},
		{"select 0", "+OK\r\n"},
		{"select 1", "-ERR DB index is out of range\r\n"},
		{"select a", "-ERR value is not an integer or out of range\r\n"},
		{"client", "-ERR wrong number of arguments for 'client' command\r\n"},
		{"client foo", "-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n"},
		{"client id x", "-ERR wrong number of arguments for 'client|id' command\r\n"},
		{"client getredir", ":-1\r\n"},
		{"client getname", "$-1\r\n"},
		{`client setname "a b"`, "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"},
		{"client setname me", "+OK\r\n"},
		{"client getname", "$2\r\nme\r\n"},
		{"client setinfo lib-name x", "+OK\r\n"},
		{"client kill 1.2.3.4:5", "-ERR No such client\r\n"},
		{"client kill id a", "-ERR client-id should be greater than 0\r\n"},
		{"client kill id 999", ":0\r\n"},
		{"client kill foo bar", "-ERR syntax error\r\n"},
		{"client kill type foo", "-ERR Unknown client type 'foo'\r\n"},
		{"client list type foo", "-ERR Unknown client type 'foo'\r\n"},
		{"client list id 999", "$0\r\n\r\n"},
		{"client list id a", "-ERR Invalid client ID\r\n"},
		{"client no-evict on", "+OK\r\n"},
		{"client no-evict x", "-ERR syntax error\r\n"},
		{"client no-touch on", "+OK\r\n"},
		{"client reply on", "+OK\r\n"},
		{"client reply foo", "-ERR syntax error\r\n"},
		{"client pause a", "-ERR timeout is not an integer or out of range\r\n"},
		{"client pause -1", "-ERR timeout is negative\r\n"},
		{"client pause 1 foo", "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n"},
		{"client unpause", "+OK\r\n"},
		{"client tracking off", "+OK\r\n"},
		{"client tracking foo", "-ERR syntax error\r\n"},
		{"client unblock 1", ":0\r\n"},
		{"client trackinginfo", "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n"},
	} {
		p.do(c[0], c[1])
	}
	if s := p.text("CLIENT INFO"); !strings.Contains(s, "id=1 addr=client:") || !strings.Contains(s, "name=me") || !strings.Contains(s, "cmd=client|info user=default redir=-1 resp=2 lib-name=x") {
		t.Errorf("CLIENT INFO: %q", s)
	}
	p.send("QUIT\r\nPING\r\n")
	p.ended("+OK\r\n")
}

// TestClientReply: OFF and SKIP drop replies of either kind of command.
func TestClientReply(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	p.send("CLIENT REPLY OFF\r\nSET k v\r\nPING\r\nGET k\r\nCLIENT REPLY ON\r\nGET k\r\n")
	p.want("+OK\r\n$1\r\nv\r\n")
	p.send("CLIENT REPLY SKIP\r\nGET k\r\nGET k\r\nCLIENT REPLY SKIP\r\nPING\r\nPING\r\n")
	p.want("$1\r\nv\r\n+PONG\r\n")
}

// TestClientKill ends another connection, and the own one behind the reply.
func TestClientKill(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	one, two := b.dial(), b.dial()
	defer one.close()
	defer two.close()
	one.do("PING", "+PONG\r\n")
	two.do("PING", "+PONG\r\n")
	two.do("CLIENT KILL ID 1", ":1\r\n")
	one.ended("")
	two.send("CLIENT KILL ID 2 SKIPME no\r\nPING\r\n")
	two.ended(":1\r\n")
}

// TestDeliveryErrors: the connection goes on behind each, and an unknown outcome says so.
func TestDeliveryErrors(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	kind := shard.Kind(0)
	b.router.Before = func(context.Context, *shard.Caller, *fsm.Command) error {
		if kind == 0 {
			return nil
		}
		return &shard.Error{Kind: kind, Op: "write"}
	}
	p := b.dial()
	defer p.close()
	for k, want := range map[shard.Kind]string{
		shard.KindOverloaded: "-TRYAGAIN not applied: write: overloaded\r\n",
		shard.KindNoQuorum:   "-CLUSTERDOWN not applied: write: no quorum\r\n",
		shard.KindUnknown:    "-UNKNOWN outcome: write: outcome unknown\r\n",
	} {
		kind = k
		p.do("SET k v", want)
		kind = 0
		p.do("SET k v", "+OK\r\n")
	}
}

// TestProtocolErrors are answered as Redis answers, behind everything before them, and end the connection.
func TestProtocolErrors(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	for in, want := range map[string]string{
		"*-1\r\nPING\r\n*x\r\n":                  "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n",
		"SET k v\r\n*1\r\n:1\r\n":                "+OK\r\n-ERR Protocol error: expected '$', got ':'\r\n",
		"*1\r\n$-5\r\n":                          "-ERR Protocol error: invalid bulk length\r\n",
		"*2\r\n$3\r\nGET\r\n$99999999999\r\n":    "-ERR Protocol error: invalid bulk length\r\n",
		"*2147483648\r\n":                        "-ERR Protocol error: invalid multibulk length\r\n",
		"GET \"k\r\n":                            "-ERR Protocol error: unbalanced quotes in request\r\n",
		strings.Repeat("x", maxInline+1):         "-ERR Protocol error: too big inline request\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\n\r\nPING": "",
	} {
		p := b.dial()
		go p.nc.Write([]byte(in))
		p.ended(want)
		p.close()
	}
}

// TestTooLongArgument: a value over the limit is refused and the connection goes on, as long as it is not
// beyond all measure.
func TestTooLongArgument(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	go p.send(words("SET", "k", strings.Repeat("x", fsm.DefaultMaxValue+1)) + words("PING"))
	p.want("-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n+PONG\r\n")
}

func TestAuthenticate(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Authenticate = func(_ context.Context, user, password string) (string, error) {
			if password != "secret" {
				return "", errors.New("no")
			}
			return user, nil
		}
	}, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	p.do("GET k", "-NOAUTH Authentication required.\r\n")
	p.do("HELLO 3", "-"+textHelloAuth+"\r\n")
	p.do("AUTH x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n")
	p.do("AUTH bob secret", "+OK\r\n")
	p.do("GET k", "$-1\r\n")
	if u := b.router.LastCaller(); u.User != "bob" || u.Protocol != "resp" {
		t.Errorf("the router was called by %+v", u)
	}
	p.do("RESET", "+RESET\r\n")
	p.do("GET k", "-NOAUTH Authentication required.\r\n")
	p.send("*11\r\n")
	p.ended("-ERR Protocol error: unauthenticated multibulk length\r\n")
}

// TestRefusal: a connection over the limit is told so as Redis tells.
func TestRefusal(t *testing.T) {
	b := newBench(t, nil, func(c *tcpd.Config) { c.MaxConns = 1 })
	defer b.close()
	p := b.dial()
	defer p.close()
	p.do("PING", "+PONG\r\n")
	b.dial().ended("-ERR max number of clients reached\r\n")
}

// TestPushesBetweenReplies: pushes of other goroutines never tear a reply.
func TestPushesBetweenReplies(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	sessions := make(chan *session, 1)
	srv := tcpdtest.Serve(t, ":7404", tcpd.Config{Open: func(c *tcpd.Conn) tcpd.Session {
		s := b.h.Open(c).(*session)
		sessions <- s
		return s
	}, MaxCommand: b.h.MaxCommand()})
	defer srv.World.Close()
	defer srv.Stop(t)
	p := &peer{t: t, nc: srv.Dial(t)}
	defer p.close()
	s := <-sessions
	big := strings.Repeat("x", 300<<10)
	b.router.Run(fsm.Command{Op: fsm.OpSet, Args: [][]byte{[]byte("k"), []byte(big)}})
	const pushes, gets = 200, 20
	go func() {
		for range pushes {
			_ = s.w.push([]byte(">1\r\n$4\r\nnews\r\n"))
		}
	}()
	go p.send(strings.Repeat("GET k\r\n", gets) + "QUIT\r\n")
	reply := "$307200\r\n" + big + "\r\n"
	for news, replies := 0, 0; news < pushes || replies < gets; {
		for len(p.got) < 2 {
			chunk := make([]byte, 64<<10)
			n, err := p.nc.Read(chunk)
			if err != nil {
				t.Fatalf("%d pushes and %d replies, then %v", news, replies, err)
			}
			p.got = append(p.got, chunk[:n]...)
		}
		if p.got[0] == '>' {
			p.want(">1\r\n$4\r\nnews\r\n")
			news++
		} else {
			p.want(reply)
			replies++
		}
		if replies == gets && news < pushes {
			break // the connection ended before the last pushes
		}
	}
}

// TestLaterCommands: what the edge has a part in, beside the table: subcommands, joined answers, shapes of replies.
func TestLaterCommands(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	p.send(words("RANDOMKEY") + words("LMPOP", "1", "none", "LEFT") + words("HSET", "h", "f", "1") + words("OBJECT", "ENCODING", "h") + words("object", "refcount", "h") +
		words("OBJECT", "FREQ", "none") + words("OBJECT", "BOGUS", "h") + words("OBJECT", "ENCODING") + words("RANDOMKEY") + words("KEYS", "*") +
		words("HRANDFIELD", "h", "1", "WITHVALUES") + words("LCS", "none", "none", "IDX"))
	p.want("$-1\r\n*-1\r\n:1\r\n$8\r\nlistpack\r\n:1\r\n$-1\r\n-ERR unknown subcommand 'BOGUS'. Try OBJECT HELP.\r\n" +
		"-ERR wrong number of arguments for 'object|encoding' command\r\n$1\r\nh\r\n*1\r\n$1\r\nh\r\n*2\r\n$1\r\nf\r\n$1\r\n1\r\n" +
		"*4\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n")
	p.text("HELLO 3")
	p.send(words("HRANDFIELD", "h", "1", "WITHVALUES") + words("LCS", "none", "none", "IDX"))
	p.want("*1\r\n*2\r\n$1\r\nf\r\n$1\r\n1\r\n%2\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n")
}
