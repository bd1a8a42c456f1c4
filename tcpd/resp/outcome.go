// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"errors"
	"strings"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// textUnknown begins the reply of a command of which nothing is known.
const textUnknown = "UNKNOWN outcome: "

// failureText is the one place where delivery errors become words. The first word tells a client what
// to do: TRYAGAIN and CLUSTERDOWN say that the command was not applied and never will be, UNKNOWN that
// it may or may not have been, or will be. No error, where there is no result either, is unknown.
func failureText(err error) string {
	e, ok := errors.AsType[*shard.Error](err)
	if !ok {
		return textUnknown + "the command may have been applied"
	}
	why := oneLine(strings.TrimPrefix(e.Error(), "shard: "))
	switch e.Kind {
	case shard.KindOverloaded, shard.KindTimeout, shard.KindNoSpace, shard.KindClosing:
		return "TRYAGAIN not applied: " + why
	case shard.KindNotLeader, shard.KindNoQuorum, shard.KindUninitialised:
		return "CLUSTERDOWN not applied: " + why
	case shard.KindDenied:
		return "NOPERM not applied: " + why
	case shard.KindInvalid:
		return "ERR not applied: " + why
	case shard.KindUnknown:
	}
	return textUnknown + why
}

// outcome is what a router's reply is to the client.
func outcome(r *shard.Reply) fsm.Result {
	if r.Err != nil || r.Result.Kind == fsm.KindNone {
		return fsm.Error(fsm.CodeError, failureText(r.Err))
	}
	if r.Result.Code == fsm.CodeSlotMoved {
		// MOVED without an address is not what a client could follow.
		return fsm.Error(r.Result.Code, "TRYAGAIN not applied: the slot is moving")
	}
	return r.Result
}

// oneLine makes a text fit for an error reply.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return ' '
		}
		return r
	}, s)
}
