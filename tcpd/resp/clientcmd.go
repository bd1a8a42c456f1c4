// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// groupClient is the family of the commands about connections.
const groupClient = "connection"

func clientCommand() row {
	const f = flagNoScript | flagLoading | flagStale
	const admin = f | flagAdmin
	return container(
		"client", 0, nil,
		local("caching", 3, f, runClientCaching),
		local("getname", 2, f, runClientGetName),
		local("getredir", 2, f, func(context.Context, *session, [][]byte) fsm.Result { return fsm.Int(-1) }),
		local("help", 2, f, help("CLIENT", clientHelp)),
		local("id", 2, f, func(_ context.Context, s *session, _ [][]byte) fsm.Result { return fsm.Int(int64(s.c.ID)) }),
		local("info", 2, f, func(_ context.Context, s *session, _ [][]byte) fsm.Result {
			return verbatim(string(s.card.appendLine(nil)))
		}),
		local("kill", -3, admin, runClientKill),
		local("list", -2, admin, runClientList),
		local("no-evict", 3, admin, runClientNoEvict),
		local("no-touch", 3, f, onOff),
		local("pause", -3, admin, runClientPause),
		local("reply", 3, f, runClientReply),
		local("setinfo", 4, f, runClientSetInfo),
		local("setname", 3, f, runClientSetName),
		local("tracking", -3, f, runClientTracking),
		local("trackinginfo", 2, f, func(context.Context, *session, [][]byte) fsm.Result {
			return fsm.Map([]fsm.Result{bulk("flags"), {Kind: fsm.KindSet, Elems: []fsm.Result{bulk("off")}}, bulk("redirect"), fsm.Int(-1), bulk("prefixes"), fsm.Array(nil)})
		}),
		local("unblock", -3, admin, runClientUnblock),
		local("unpause", 2, admin, func(_ context.Context, s *session, _ [][]byte) fsm.Result {
			s.h.pause.end()
			s.h.stirBlocked()
			return fsm.OK()
		}),
	).in(groupClient)
}

var clientHelp = []string{
	"GETNAME", "    Return the name of the current connection.",
	"GETREDIR", "    Return -1: there is no tracking of keys.",
	"ID", "    Return the ID of the current connection.",
	"INFO", "    Return information about the current client connection.",
	"KILL <ip:port>", "    Kill connection made from <ip:port>.",
	"KILL <option> <value> [<option> <value> [...]]", "    Kill connections by ADDR, LADDR, ID, TYPE, USER, SKIPME (YES|NO).",
	"LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <id> [<id> ...]]", "    Return information about the client connections of this node.",
	"NO-EVICT (ON|OFF)", "    Accepted: clients are not evicted.",
	"NO-TOUCH (ON|OFF)", "    Accepted.",
	"PAUSE <timeout> [WRITE|ALL]", "    Suspend all, or just write, clients of this node for <timeout> milliseconds.",
	"REPLY (ON|OFF|SKIP)", "    Control the replies sent to the current connection.",
	"SETINFO (LIB-NAME|LIB-VER) <value>", "    Set the name or the version of the client's library.",
	"SETNAME <name>", "    Assign the name <name> to the current connection.",
	"TRACKING OFF", "    Accepted: there is no tracking of keys.",
	"UNBLOCK <clientid> [TIMEOUT|ERROR]", "    Unblock the specified blocked client of this node.",
	"UNPAUSE", "    Stop the current client pause, resuming traffic.",
}

// help makes the subcommand HELP.
func help(name string, lines []string) runFunc {
	return func(context.Context, *session, [][]byte) fsm.Result {
		out := []fsm.Result{fsm.Status(name + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")}
		for _, l := range lines {
			out = append(out, fsm.Status(l))
		}
		return fsm.Array(append(out, fsm.Status("HELP"), fsm.Status("    Prints this help.")))
	}
}

func parseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 20 || b[0] == '+' || len(b) > 1 && (b[0] == '0' || b[0] == '-' && b[1] == '0') {
		return 0, false
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}

func syntax() fsm.Result { return fsm.Error(fsm.CodeSyntax, fsm.TextSyntax) }

func onOff(_ context.Context, _ *session, args [][]byte) fsm.Result {
	if !is(args[0], "ON") && !is(args[0], "OFF") {
		return syntax()
	}
	return fsm.OK()
}

func runClientNoEvict(ctx context.Context, s *session, args [][]byte) fsm.Result {
	res := onOff(ctx, s, args)
	if !res.IsError() {
		s.card.with(func() { s.card.noEvict = is(args[0], "ON") })
	}
	return res
}

func runClientCaching(_ context.Context, _ *session, args [][]byte) fsm.Result {
	if !is(args[0], "YES") && !is(args[0], "NO") {
		return syntax()
	}
	return fail("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
}

func runClientTracking(_ context.Context, _ *session, args [][]byte) fsm.Result {
	switch {
	case is(args[0], "OFF"):
		return fsm.OK()
	case is(args[0], "ON"):
		return fail("ERR CLIENT TRACKING is not supported: keys are not tracked for clients")
	}
	return syntax()
}

func runClientGetName(_ context.Context, s *session, _ [][]byte) fsm.Result {
	name := ""
	if s.card.with(func() { name = s.card.name }); name == "" {
		return fsm.Null()
	}
	return bulk(name)
}

func runClientSetName(_ context.Context, s *session, args [][]byte) fsm.Result {
	if !plainName(args[0]) {
		return fail(textClientName)
	}
	s.card.with(func() { s.card.name = string(args[0]) })
	return fsm.OK()
}

func runClientSetInfo(_ context.Context, s *session, args [][]byte) fsm.Result {
	var field *string
	switch {
	case is(args[0], "LIB-NAME"):
		field = &s.card.libName
	case is(args[0], "LIB-VER"):
		field = &s.card.libVer
	default:
		return fsm.Errorf(fsm.CodeError, "ERR Unrecognized option '%s'", cut(args[0]))
	}
	if !plainName(args[1]) {
		return fsm.Errorf(fsm.CodeError, "ERR %s cannot contain spaces, newlines or special characters.", string(bytes.ToLower(args[0])))
	}
	s.card.with(func() { *field = string(args[1]) })
	return fsm.OK()
}

// runClientReply answers ON alone.
func runClientReply(_ context.Context, s *session, args [][]byte) fsm.Result {
	switch {
	case is(args[0], "ON"):
		s.muting = replyAll
		return fsm.OK()
	case is(args[0], "OFF"):
		s.muting = replyNone
	case is(args[0], "SKIP"):
		if s.muting != replyNone {
			s.muting = replySkip
		}
	default:
		return syntax()
	}
	return nothing()
}

func runClientPause(_ context.Context, s *session, args [][]byte) fsm.Result {
	writes := false
	if len(args) == 2 {
		if writes = is(args[1], "WRITE"); !writes && !is(args[1], "ALL") {
			return fail("ERR CLIENT PAUSE mode must be WRITE or ALL")
		}
	}
	ms, ok := parseInt(args[0])
	switch {
	case len(args) > 2:
		return fsm.Errorf(fsm.CodeArity, "ERR wrong number of arguments for 'client|pause' command")
	case !ok:
		return fail("ERR timeout is not an integer or out of range")
	case ms < 0:
		return fail("ERR timeout is negative")
	}
	s.h.pause.begin(time.Duration(min(ms, maxPause.Milliseconds()))*time.Millisecond, writes)
	return fsm.OK()
}

// all gives the cards in the order of their ids.
func (h *Handler) all() []*card {
	h.mu.Lock()
	list := slices.Collect(maps.Values(h.cards))
	h.mu.Unlock()
	slices.SortFunc(list, func(a, b *card) int { return int(a.id) - int(b.id) })
	return list
}

// clientType judges a TYPE: a connection is a normal one, or gets messages.
func clientType(b []byte) (fits func(*card) bool, res fsm.Result) {
	for _, word := range []string{"NORMAL", "MASTER", "REPLICA", "SLAVE", "PUBSUB"} {
		if is(b, word) {
			return func(k *card) bool {
				return word == "NORMAL" && !k.subscribed() || word == "PUBSUB" && k.subscribed()
			}, res
		}
	}
	return nil, fsm.Errorf(fsm.CodeError, "ERR Unknown client type '%s'", cut(b))
}

func runClientList(_ context.Context, s *session, args [][]byte) fsm.Result {
	list := s.h.all()
	switch {
	case len(args) == 0:
	case is(args[0], "TYPE") && len(args) == 2:
		fits, res := clientType(args[1])
		if res.IsError() {
			return res
		}
		list = slices.DeleteFunc(list, func(k *card) bool { return !fits(k) })
	case is(args[0], "ID") && len(args) >= 2:
		want := make(map[uint64]bool)
		for _, a := range args[1:] {
			n, ok := parseInt(a)
			if !ok || n < 1 {
				return fail("ERR Invalid client ID")
			}
			want[uint64(n)] = true
		}
		list = slices.DeleteFunc(list, func(k *card) bool { return !want[k.id] })
	default:
		return syntax()
	}
	var b []byte
	for _, k := range list {
		b = k.appendLine(b)
	}
	return verbatim(string(b))
}

// killFilter is what the options of CLIENT KILL ask for.
type killFilter struct {
	addr, laddr, user string
	id                uint64
	notMe             bool
	// fits judges by TYPE; nil takes all.
	fits func(*card) bool
}

func (f *killFilter) matches(k *card, me bool) bool {
	user := ""
	k.with(func() { user = k.user })
	return (f.fits == nil || f.fits(k)) && (f.addr == "" || f.addr == k.addr) && (f.laddr == "" || f.laddr == k.laddr) &&
		(f.id == 0 || f.id == k.id) && (f.user == "" || f.user == user) && !(me && f.notMe)
}

func parseKill(args [][]byte) (f killFilter, res fsm.Result) {
	f.notMe = true
	if len(args)%2 != 0 {
		return f, syntax()
	}
	for ; len(args) > 0; args = args[2:] {
		switch value := args[1]; {
		case is(args[0], "ID"):
			n, ok := parseInt(value)
			if !ok || n < 1 {
				return f, fail("ERR client-id should be greater than 0")
			}
			f.id = uint64(n)
		case is(args[0], "TYPE"):
			fits, res := clientType(value)
			if res.IsError() {
				return f, res
			}
			f.fits = fits
		case is(args[0], "ADDR"):
			f.addr = string(value)
		case is(args[0], "LADDR"):
			f.laddr = string(value)
		case is(args[0], "USER"):
			f.user = string(value)
		case is(args[0], "SKIPME") && is(value, "YES"):
			f.notMe = true
		case is(args[0], "SKIPME") && is(value, "NO"):
			f.notMe = false
		default:
			return f, syntax()
		}
	}
	return f, fsm.Result{}
}

func runClientKill(_ context.Context, s *session, args [][]byte) fsm.Result {
	old := len(args) == 1
	f := killFilter{}
	if old {
		f.addr = string(args[0])
	} else {
		var res fsm.Result
		if f, res = parseKill(args); res.IsError() {
			return res
		}
	}
	n := int64(0)
	for _, k := range s.h.all() {
		if !f.matches(k, k == s.card) {
			continue
		}
		n++
		if k == s.card {
			s.ending = true
		} else {
			k.kill()
		}
	}
	switch {
	case !old:
		return fsm.Int(n)
	case n == 0:
		return fail("ERR No such client")
	}
	return fsm.OK()
}
