// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"slices"
	"strings"

	"github.com/kvorum/kvorum/fsm"
)

// defaultUser is the user of a connection that gave no name.
const defaultUser = "default"

// Texts of Redis.
const (
	textNoPassword = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
	textWrongPass  = "WRONGPASS invalid username-password pair or user is disabled."
	textClientName = "ERR Client names cannot contain spaces, newlines or special characters."
	textNoProto    = "NOPROTO unsupported protocol version"
	textHelloAuth  = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
)

func connectionCommands() []row {
	const quick = flagFast | flagLoading | flagStale
	return []row{
		local("auth", -2, quick|flagNoScript|flagNoAuth|flagAllowBusy, runAuth),
		local("echo", 2, quick, func(_ context.Context, _ *session, args [][]byte) fsm.Result { return fsm.Bulk(args[0]) }),
		local("hello", -1, quick|flagNoScript|flagNoAuth|flagAllowBusy, runHello),
		local("ping", -1, flagFast|flagSubscribed, runPing),
		local("quit", -1, quick|flagNoScript|flagNoAuth|flagAllowBusy|flagSubscribed, runQuit),
		local("reset", 1, quick|flagNoScript|flagNoAuth|flagAllowBusy|flagSubscribed, runReset),
		local("select", 2, quick, runSelect),
		clientCommand(),
	}
}

func fail(text string) fsm.Result { return fsm.Error(fsm.CodeError, text) }

func bulk(s string) fsm.Result { return fsm.Bulk([]byte(s)) }

// verbatim is a text for people.
func verbatim(s string) fsm.Result {
	return fsm.Result{Kind: fsm.KindVerbatim, Str: []byte("txt:" + s)}
}

// nothing is the reply of a command that sends none.
func nothing() fsm.Result { return fsm.Result{} }

func cut(b []byte) string { return oneLine(string(b[:min(len(b), 128)])) }

func upper(s string) string { return strings.ToUpper(s) }

func runPing(_ context.Context, s *session, args [][]byte) fsm.Result {
	if s.enc.proto == 2 && s.sub.total() > 0 && len(args) < 2 {
		return fsm.Array([]fsm.Result{bulk("pong"), fsm.Bulk(slices.Concat(args...))})
	}
	switch len(args) {
	case 0:
		return fsm.Status("PONG")
	case 1:
		return fsm.Bulk(args[0])
	}
	return fsm.Errorf(fsm.CodeArity, "ERR wrong number of arguments for 'ping' command")
}

func runQuit(_ context.Context, s *session, _ [][]byte) fsm.Result {
	s.ending = true
	return fsm.OK()
}

func runReset(_ context.Context, s *session, _ [][]byte) fsm.Result {
	s.reset()
	return fsm.Status("RESET")
}

// runSelect knows one database.
func runSelect(_ context.Context, _ *session, args [][]byte) fsm.Result {
	n, ok := parseInt(args[0])
	switch {
	case !ok:
		return fail(fsm.TextNotInteger)
	case n != 0:
		return fail(fsm.TextDBIndex)
	}
	return fsm.OK()
}

func runAuth(ctx context.Context, s *session, args [][]byte) fsm.Result {
	switch len(args) {
	case 1:
		if s.h.cfg.Authenticate == nil {
			return fail(textNoPassword)
		}
		return s.authenticate(ctx, []byte(defaultUser), args[0])
	case 2:
		return s.authenticate(ctx, args[0], args[1])
	}
	return fsm.Error(fsm.CodeSyntax, fsm.TextSyntax)
}

// authenticate is OK or an error. Without users there is "default", who takes any password.
func (s *session) authenticate(ctx context.Context, user, password []byte) fsm.Result {
	check := s.h.cfg.Authenticate
	if check == nil {
		if string(user) != defaultUser {
			return fail(textWrongPass)
		}
		return fsm.OK()
	}
	name, err := check(ctx, string(user), string(password))
	if err != nil {
		return fail(textWrongPass)
	}
	s.parser.guarded = false
	s.caller.User = name
	s.card.with(func() { s.card.user = strings.ReplaceAll(name, " ", "_") })
	return fsm.OK()
}

// runHello changes nothing unless all of it can be done.
func runHello(ctx context.Context, s *session, args [][]byte) fsm.Result {
	proto := s.enc.proto
	var name, user, password []byte
	named, auth := false, false
	if len(args) > 0 {
		n, ok := parseInt(args[0])
		switch {
		case !ok:
			return fail("ERR Protocol version is not an integer or out of range")
		case n != 2 && n != 3:
			return fail(textNoProto)
		}
		proto = int(n)
		for i := 1; i < len(args); {
			switch rest := len(args) - i - 1; {
			case is(args[i], "AUTH") && rest >= 2:
				user, password, auth = args[i+1], args[i+2], true
				i += 3
			case is(args[i], "SETNAME") && rest >= 1:
				if name, named = args[i+1], true; !plainName(name) {
					return fail(textClientName)
				}
				i += 2
			default:
				return fsm.Errorf(fsm.CodeError, "ERR Syntax error in HELLO option '%s'", cut(args[i]))
			}
		}
	}
	if auth {
		if res := s.authenticate(ctx, user, password); res.IsError() {
			return res
		}
	}
	if s.parser.guarded {
		return fail(textHelloAuth)
	}
	s.speak(proto)
	s.card.with(func() {
		s.card.proto = proto
		if named {
			s.card.name = string(name)
		}
	})
	return fsm.Map([]fsm.Result{
		bulk("server"), bulk("redis"), bulk("version"), bulk(redisVersion), bulk("proto"), fsm.Int(int64(proto)),
		bulk("id"), fsm.Int(int64(s.c.ID)), bulk("mode"), bulk(s.h.mode()), bulk("role"), bulk("master"), bulk("modules"), fsm.Array(nil),
	})
}
