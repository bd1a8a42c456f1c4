// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"github.com/kvorum/kvorum/fsm"
)

// chunkName is what messages call a script.
const chunkName = "user_script"

// Program is a compiled script. It is immutable.
type Program struct {
	// SHA names it: 40 hex digits.
	SHA string
	// ReadOnly: its first line has the flag no-writes.
	ReadOnly bool
	// AllowOOM: it has the flag allow-oom, or no first line with flags.
	AllowOOM bool
	// Flagged: it has a first line with flags.
	Flagged bool

	proto *lua.FunctionProto
}

// SHA names a script.
func SHA(body []byte) string {
	sum := sha1.Sum(body)
	return hex.EncodeToString(sum[:])
}

// Compile makes a Program of a script's text. bad is the reply when it is none.
func Compile(body []byte) (p *Program, bad *fsm.Result) {
	if len(body) > MaxSource {
		res := fsm.Errorf(fsm.CodeTooBig, "ERR script is longer than %d bytes", MaxSource)
		return nil, &res
	}
	p = &Program{SHA: SHA(body)}
	source, err := p.shebang(body)
	if err != nil {
		res := fsm.Error(fsm.CodeError, "ERR "+err.Error())
		return nil, &res
	}
	if p.proto, err = compile(string(source), chunkName); err != nil {
		res := fsm.Error(fsm.CodeError, "ERR Error compiling script (new function): "+err.Error())
		return nil, &res
	}
	return p, nil
}

// shebang reads the first line if it begins with #!, and gives what is to be compiled.
func (p *Program) shebang(body []byte) ([]byte, error) {
	if !bytes.HasPrefix(body, []byte("#!")) {
		p.AllowOOM = true
		return body, nil
	}
	line, rest, ok := bytes.Cut(body, []byte("\n"))
	if !ok {
		return nil, errors.New("Invalid script shebang") //nolint:staticcheck // Redis' text
	}
	p.Flagged = true
	words := strings.Fields(string(line[len("#!"):]))
	if len(words) == 0 || words[0] != "lua" {
		name, _, _ := strings.Cut(string(line), " ")
		return nil, fmt.Errorf("Unexpected engine in script shebang: %s", name) //nolint:staticcheck // Redis' text
	}
	for _, word := range words[1:] {
		flags, ok := strings.CutPrefix(word, "flags=")
		if !ok {
			return nil, fmt.Errorf("Unknown lua shebang option: %s", word) //nolint:staticcheck // Redis' text
		}
		for flag := range strings.SplitSeq(flags, ",") {
			switch flag {
			case "no-writes":
				p.ReadOnly, p.AllowOOM = true, true
			case "allow-oom":
				p.AllowOOM = true
			case "", "allow-stale", "no-cluster", "allow-cross-slot-keys":
			default:
				return nil, fmt.Errorf("Unexpected flag in script shebang: %s", flag) //nolint:staticcheck // Redis' text
			}
		}
	}
	return append([]byte{'\n'}, rest...), nil
}

// compile makes a function of a text. Whatever the parser does with it, the result is a function or an error.
func compile(source, name string) (proto *lua.FunctionProto, err error) {
	defer func() {
		if p := recover(); p != nil {
			proto, err = nil, fmt.Errorf("%s: %v", name, p)
		}
	}()
	chunk, err := parse.Parse(strings.NewReader(source), name)
	if err != nil {
		return nil, syntaxError(err, name)
	}
	w := rewriter{name: name, constants: make(map[string]struct{})}
	if w.stmts(chunk); w.err != nil {
		return nil, w.err
	}
	return lua.Compile(chunk, name)
}

// syntaxError words the parser's error as Lua does.
func syntaxError(err error, name string) error {
	e, ok := errors.AsType[*parse.Error](err)
	switch {
	case !ok:
		return fmt.Errorf("%s:1: %w", name, err)
	case e.Pos.Line == parse.EOF:
		return fmt.Errorf("%s: %s near '<eof>'", name, e.Message)
	}
	return fmt.Errorf("%s:%d: %s near '%s'", name, e.Pos.Line, e.Message, e.Token)
}
