// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	testBulk  = 1 << 10
	testBytes = 4 << 10
)

// parsed is what a stream says: its commands, and the fault that ended it.
type parsed struct {
	commands []string
	fault    string
}

func show(args [][]byte) string {
	var words []string
	for _, a := range args {
		words = append(words, strconv.Quote(string(a)))
	}
	return strings.Join(words, " ")
}

// feed gives a parser the stream in pieces that end at the given places, as tcpd would.
func feed(p parser, stream []byte, ends []int) (out parsed) {
	at := 0
	wait := 0
	for _, end := range append(slices.Clone(ends), len(stream)) {
		for {
			in := stream[at:end]
			if len(in) < wait {
				break
			}
			args, size, need, err := p.next(bytes.Clone(in), nil)
			if err != nil {
				out.fault = err.Error()
				return out
			}
			if wait = need; size == 0 {
				break
			}
			if at += size; len(args) > 0 {
				out.commands = append(out.commands, show(args))
			}
		}
	}
	return out
}

func TestParse(t *testing.T) {
	long := strings.Repeat("x", maxInline)
	for name, c := range map[string]struct {
		in, want, fault string
	}{
		"array":            {"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", `"GET" "k"`, ""},
		"empty bulk":       {"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", `"GET" ""`, ""},
		"binary":           {"*1\r\n$4\r\n\x00\r\n\xff\r\n", `"\x00\r\n\xff"`, ""},
		"pipeline":         {"*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n", `"PING" | "PING" | "QUIT"`, ""},
		"empty arrays":     {"*0\r\n*-1\r\n*-7\r\nPING\n", `"PING"`, ""},
		"empty lines":      {"\r\n\n   \r\nPING\r\n", `"PING"`, ""},
		"incomplete":       {"*2\r\n$3\r\nGET\r\n$1\r\n", "", ""},
		"no number":        {"*\r\n", "", "invalid multibulk length"},
		"letters":          {"*abc\r\n", "", "invalid multibulk length"},
		"plus":             {"*+1\r\n", "", "invalid multibulk length"},
		"leading zero":     {"*01\r\n", "", "invalid multibulk length"},
		"huge count":       {"*1048577\r\n", "", "invalid multibulk length"},
		"overflow":         {"*99999999999999999999\r\n", "", "invalid multibulk length"},
		"not a bulk":       {"*1\r\n:1\r\n", "", "expected '$', got ':'"},
		"not a bulk, CR":   {"*1\r\n\r\n", "", "expected '$', got ' '"},
		"negative bulk":    {"*1\r\n$-1\r\n", "", "invalid bulk length"},
		"bulk too long":    {"*1\r\n$1025\r\n", "", "invalid bulk length"},
		"bulk of letters":  {"*1\r\n$a\r\n", "", "invalid bulk length"},
		"longest bulk":     {"*1\r\n$1024\r\n" + strings.Repeat("a", 1024) + "\r\n", strconv.Quote(strings.Repeat("a", 1024)), ""},
		"command too long": {"*5\r\n" + strings.Repeat("$1024\r\n"+strings.Repeat("a", 1024)+"\r\n", 4) + "$1\r\na\r\n", "", "command exceeds maximum allowed size"},
		"count line":       {"*" + long, "", "too big mbulk count string"},
		"bulk line":        {"*1\r\n$" + long, "", "too big bulk count string"},
		"inline too long":  {long + "x", "", "too big inline request"},
		"inline":           {"  set  k\tv \r\n", `"set" "k" "v"`, ""},
		"quotes":           {`set "a b" 'c d'` + "\r\n", `"set" "a b" "c d"`, ""},
		"escapes":          {`set "\x41\n\r\t\b\a\"\\\q" '\'\n'` + "\n", `"set" "A\n\r\t\b\a\"\\q" "'\\n"`, ""},
		"bad hex":          {`set "\xzz\x4"` + "\n", `"set" "xzzx4"`, ""},
		"glued":            {`set a"b"` + "\n", `"set" "ab"`, ""},
		"behind a quote":   {`set "a"b` + "\n", "", "unbalanced quotes in request"},
		"open quote":       {`set "a` + "\n", "", "unbalanced quotes in request"},
		"open single":      {`set 'a` + "\n", "", "unbalanced quotes in request"},
		"last backslash":   {`set "a\` + "\n", "", "unbalanced quotes in request"},
		"empty word":       {`set "" ''` + "\n", `"set" "" ""`, ""},
		"zero byte":        {"set a\x00b c\n", `"set" "a"`, ""},
		"good, then bad":   {"PING\r\n*x\r\n", `"PING"`, "invalid multibulk length"},
	} {
		t.Run(name, func(t *testing.T) {
			got := feed(newParser(testBulk, testBytes), []byte(c.in), nil)
			if s := strings.Join(got.commands, " | "); s != c.want {
				t.Errorf("commands %s, want %s", s, c.want)
			}
			if want := c.fault; want != "" && got.fault != "resp: protocol error: "+want || want == "" && got.fault != "" {
				t.Errorf("fault %q, want %q", got.fault, want)
			}
		})
	}
}

// TestParseGuarded: a peer that did not say who it is announces little.
func TestParseGuarded(t *testing.T) {
	for in, want := range map[string]protocolError{
		"*11\r\n":             errGuardedMultibulk,
		"*1\r\n$16385\r\n":    errGuardedBulk,
		"*10\r\n$16384\r\n..": "",
	} {
		p := newParser(1<<20, 1<<20)
		p.guarded = true
		_, _, _, err := p.next([]byte(in), nil)
		if fault, _ := errors.AsType[protocolError](err); fault != want {
			t.Errorf("%q: %v, want %v", in, err, want)
		}
	}
}

// TestParseNeed: a bulk that is announced is waited for as a whole, and costs nothing before it is here.
func TestParseNeed(t *testing.T) {
	p := newParser(1<<30, 1<<30)
	in := []byte("*2\r\n$3\r\nGET\r\n$1000000\r\nabc")
	args, size, need, err := p.next(in, nil)
	if args != nil || size != 0 || err != nil || need != len(in)-3+1_000_002 {
		t.Fatalf("%v %d %d %v", args, size, need, err)
	}
	count := []byte("*1000000\r\n$1\r\na\r\n")
	allocs := testing.AllocsPerRun(10, func() {
		p := newParser(1<<30, 1<<30)
		if _, _, _, err := p.next(count, nil); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 2 {
		t.Errorf("%v allocations for a count that was announced", allocs)
	}
}

// TestParseAliases: arguments are where they were read, with no room behind them.
func TestParseAliases(t *testing.T) {
	p := newParser(testBulk, testBytes)
	in := []byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\nget k\r\n")
	room := make([][]byte, 0, 8)
	args, size, _, err := p.next(in, room)
	if err != nil || &args[1][0] != &in[17] || cap(args[1]) != 1 || &args[0] != &room[:1][0] {
		t.Fatalf("%q %v", args, err)
	}
	if args, _, _, err = p.next(in[size:], room); err != nil || &args[1][0] != &in[size+4] {
		t.Fatalf("%q %v", args, err)
	}
}

// TestParseLooksOnce: many small arguments that come byte by byte cost time in proportion.
func TestParseLooksOnce(t *testing.T) {
	const args = 20_000
	stream := []byte("*" + strconv.Itoa(args) + "\r\n" + strings.Repeat("$1\r\na\r\n", args))
	p := newParser(testBulk, 1<<20)
	for i := 1; i < len(stream); i++ {
		before := p.pos
		if _, size, _, err := p.next(stream[:i], nil); size != 0 || err != nil {
			t.Fatalf("byte %d: %d %v", i, size, err)
		}
		if p.pos < before {
			t.Fatalf("byte %d: went back from %d to %d", i, before, p.pos)
		}
	}
	if got, _, _, err := p.next(stream, nil); len(got) != args || err != nil {
		t.Fatalf("%d arguments, %v", len(got), err)
	}
}

// reference parses a whole stream in the simplest way: lines and lengths, one after the other.
func reference(stream []byte) (out parsed) {
	broken := func(e protocolError) parsed { out.fault = e.Error(); return out }
	for len(stream) > 0 {
		if stream[0] != '*' {
			line, rest, ok := bytes.Cut(stream, []byte("\n"))
			switch {
			case len(line) >= maxInline && len(stream) > maxInline:
				return broken(errInline)
			case !ok:
				return out
			}
			words, ok := splitLine(nil, bytes.TrimSuffix(line, []byte("\r")))
			if !ok {
				return broken(errQuotes)
			}
			if stream = rest; len(words) > 0 {
				out.commands = append(out.commands, show(words))
			}
			continue
		}
		head, rest, ok, long := refLine(stream[0:])
		if long {
			return broken(errMultibulkLine)
		} else if !ok {
			return out
		}
		n, err := refNumber(head[1:])
		if err != nil || n > maxMultibulk {
			return broken(errMultibulkLength)
		}
		stream = rest
		var args [][]byte
		total := 0
		for range n {
			head, rest, ok, long := refLine(stream)
			switch {
			case long:
				return broken(errBulkLine)
			case !ok:
				return out
			case head == "" || head[0] != '$':
				c := byte(' ')
				if head != "" && head[0] != '\n' {
					c = head[0]
				}
				return broken(protocolError("expected '$', got '" + string([]byte{c}) + "'"))
			}
			size, err := refNumber(head[1:])
			total += max(0, size)
			switch {
			case err != nil || size < 0 || size > testBulk:
				return broken(errBulkLength)
			case total > testBytes:
				return broken(errTooLong)
			case len(rest) < size+2:
				return out
			}
			args, stream = append(args, rest[:size]), rest[size+2:]
		}
		if len(args) > 0 {
			out.commands = append(out.commands, show(args))
		}
	}
	return out
}

// refLine cuts a line off that ends with a CR and any byte.
func refLine(b []byte) (line string, rest []byte, ok, long bool) {
	i := bytes.IndexByte(b, '\r')
	if i >= maxInline || i < 0 && len(b) > maxInline {
		return "", nil, false, len(b) > maxInline
	}
	if i < 0 || i+2 > len(b) {
		return "", nil, false, false
	}
	return string(b[:i]), b[i+2:], true, false
}

// refNumber takes what prints as itself.
func refNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err == nil && (strconv.Itoa(n) != s || len(strings.TrimPrefix(s, "-")) > 10) {
		err = fmt.Errorf("%q is no number", s)
	}
	return n, err
}

// FuzzParse: any split of any stream gives the commands and the fault that the reference finds.
func FuzzParse(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n"), []byte{1, 2, 3})
	f.Add([]byte("set \"a b\" 'c'\r\n*0\r\n*1\r\n$0\r\n\r\n"), []byte{5})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		want := reference(stream)
		var ends []int
		at := 0
		for _, c := range cuts {
			if at += int(c) + 1; at >= len(stream) {
				break
			}
			ends = append(ends, at)
		}
		every := make([]int, 0, len(stream))
		for i := 1; i < len(stream) && len(stream) < 512; i++ {
			every = append(every, i)
		}
		for _, e := range [][]int{nil, ends, every} {
			if got := feed(newParser(testBulk, testBytes), stream, e); !slices.Equal(got.commands, want.commands) || got.fault != want.fault {
				t.Fatalf("split %v: %v %q, want %v %q", e, got.commands, got.fault, want.commands, want.fault)
			}
		}
	})
}
