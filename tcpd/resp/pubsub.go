// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"maps"
	"slices"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// A message goes to those who subscribed on this node through the hub, to the others through Config.Bus.
// PUBLISH waits for the other nodes, so two of one connection never overtake each other; how long is
// bounded there.
//
// Confirmations and messages are pushes: CLIENT REPLY does not hold them back. While a session
// subscribes it holds its writer, so no message comes before the confirmation; one whose subscription has
// ended is not pushed any more, and the session writes what was pushed before ahead of its next reply.

// Texts of Redis.
const (
	textSubscribed   = "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
	textDenyBlocking = "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"
	textPubSubUsage  = "ERR unknown subcommand or wrong number of arguments for '%s'. Try PUBSUB HELP."
)

// textManySubscribed refuses what the limits do not allow.
const textManySubscribed = "ERR too many subscriptions"

// groupPubSub is the family of these commands.
const groupPubSub = "pubsub"

// Bus is what this package needs of *shard.Bus: the way to those who subscribed on other nodes. Its
// methods are called from any goroutine.
type Bus interface {
	// Publish returns how many receivers a message had on the other nodes, as far as they answered in
	// time, which it bounds itself.
	Publish(ctx context.Context, m *shard.Message) int64
	// Receive sets who gets the messages of other nodes and counts their receivers.
	Receive(f func(m *shard.Message) int)
	// Dropped counts the messages that did not reach another node.
	Dropped() uint64
}

var _ Bus = (*shard.Bus)(nil)

func pubsubCommands() []row {
	const quick = flagPubSub | flagLoading | flagStale
	const f = quick | flagNoScript | flagSubscribed
	rows := []row{
		local("publish", 3, quick|flagFast|flagMayReplicate, runPublish(false)),
		local("spublish", 3, quick|flagFast|flagMayReplicate, runPublish(true)),
		container(
			"pubsub", 0, nil,
			local("channels", -2, quick, runPubSubChannels(channels)),
			local("help", 2, flagLoading|flagStale, help("PUBSUB", []string{
				"CHANNELS [<pattern>]", "    Return the currently active channels matching a <pattern> (default: '*').",
				"NUMPAT", "    Return number of subscriptions to patterns.",
				"NUMSUB [<channel> ...]", "    Return the number of subscribers for the specified channels, excluding", "    pattern subscriptions(default: no channels).",
				"SHARDCHANNELS [<pattern>]", "    Return the currently active shard level channels matching a <pattern> (default: '*').",
				"SHARDNUMSUB [<shardchannel> ...]", "    Return the number of subscribers for the specified shard level channel(s)",
			})),
			local("numpat", 2, quick, func(_ context.Context, s *session, _ [][]byte) fsm.Result {
				return fsm.Int(int64(s.h.hub.distinct(patterns)))
			}),
			local("numsub", -2, quick, runPubSubNumSub(channels)),
			local("shardchannels", -2, quick, runPubSubChannels(shardChannels)),
			local("shardnumsub", -2, quick, runPubSubNumSub(shardChannels)),
		),
	}
	for fam := range families {
		rows = append(rows, local(fam.prefix()+"subscribe", -2, f, runSubscribe(fam)), local(fam.prefix()+"unsubscribe", -1, f, runUnsubscribe(fam)))
	}
	for i := range rows {
		rows[i] = rows[i].in(groupPubSub)
		switch rows[i].name {
		case "spublish":
			rows[i].slots = 1
		case "ssubscribe", "sunsubscribe":
			rows[i].slots = -1
		}
	}
	return rows
}

// forbidden tells whether the connection, which speaks RESP2 and has subscriptions, may not run c.
func (s *session) forbidden(c *command) bool {
	return s.enc.proto == 2 && c.flags&flagSubscribed == 0 && s.sub.total() > 0
}

// notSubscribed is the answer to a forbidden command of n words.
func (c *command) notSubscribed(n int) fsm.Result {
	if !c.arityFits(n) {
		return c.wrongArity()
	}
	return fsm.Errorf(fsm.CodeError, textSubscribed, c.name)
}

// confirm appends the confirmation of a change; a nil name is a null.
func (s *session) confirm(f family, verb string, name []byte) {
	subject := fsm.Null()
	if name != nil {
		subject = fsm.Bulk(name)
	}
	s.enc.value(&fsm.Result{Kind: fsm.KindPush, Elems: []fsm.Result{bulk(f.prefix() + verb), subject, fsm.Int(int64(s.sub.counted(f)))}})
}

// noteSubscriptions tells the card.
func (s *session) noteSubscriptions() {
	for f := range families {
		s.card.subs[f].Store(int64(len(s.sub.names[f])))
	}
}

func runSubscribe(f family) runFunc {
	return func(_ context.Context, s *session, args [][]byte) fsm.Result {
		if f == shardChannels {
			if s.executing {
				return fail(textDenyBlocking)
			}
			if res, here := s.shardChannelsHere(args); !here {
				return res
			}
		}
		s.begin()
		for _, name := range args {
			if s.enc.err != nil {
				break
			}
			if !s.h.hub.add(&s.sub, f, name) {
				s.enc.line('-', []byte(textManySubscribed))
				continue
			}
			s.confirm(f, "subscribe", name)
		}
		s.noteSubscriptions()
		s.muted() // the reply that CLIENT REPLY SKIP is about was this one
		return nothing()
	}
}

func runUnsubscribe(f family) runFunc {
	return func(_ context.Context, s *session, args [][]byte) fsm.Result {
		if len(args) == 0 {
			for _, name := range slices.Sorted(maps.Keys(s.sub.names[f])) {
				args = append(args, []byte(name))
			}
		}
		for _, name := range args {
			s.h.hub.remove(&s.sub, f, name)
			if s.confirm(f, "unsubscribe", name); s.enc.err != nil {
				break
			}
		}
		if len(args) == 0 {
			s.confirm(f, "unsubscribe", nil)
		}
		s.noteSubscriptions()
		s.muted()
		return nothing()
	}
}

// speak sets the protocol. Who subscribed gets nothing of the new one before the reply that tells of it.
func (s *session) speak(proto int) {
	if s.sub.total() > 0 {
		s.begin()
	}
	s.enc.proto = proto
	s.h.hub.speak(&s.sub, proto)
}

// unsubscribeAll ends all subscriptions without a word.
func (s *session) unsubscribeAll() {
	s.h.hub.leave(&s.sub)
	s.noteSubscriptions()
}

func runPublish(sharded bool) runFunc {
	return func(ctx context.Context, s *session, args [][]byte) fsm.Result {
		if sharded {
			if res, here := s.shardChannelsHere(args[:1]); !here {
				return res
			}
		}
		m := shard.Message{Sharded: sharded, Channel: args[0], Data: args[1]}
		n := int64(s.h.hub.publish(&m))
		if s.h.cfg.Bus != nil {
			n += s.h.cfg.Bus.Publish(ctx, &m)
		}
		return fsm.Int(n)
	}
}

// shardChannelsHere is servedHere for shard channels, which have slots as keys have.
func (s *session) shardChannelsHere(names [][]byte) (res fsm.Result, here bool) {
	if !s.h.cfg.Redirect {
		return res, true
	}
	res, here = s.h.slotHere(s, slices.All(names), true)
	s.asking = s.asking && !here
	return res, here
}

func runPubSubChannels(f family) runFunc {
	return func(_ context.Context, s *session, args [][]byte) fsm.Result {
		if len(args) > 1 {
			return fsm.Errorf(fsm.CodeError, textPubSubUsage, map[family]string{channels: "CHANNELS", shardChannels: "SHARDCHANNELS"}[f])
		}
		out, size, steps := []fsm.Result{}, 0, matchSteps
		for _, name := range s.h.hub.list(f) {
			if len(args) == 0 || fsm.GlobMatch(args[0], []byte(name), &steps) {
				out = append(out, bulk(name))
				size += len(name) + fsm.ReplyOverhead
			}
			if size > fsm.MaxReply {
				return fsm.Error(fsm.CodeTooBig, fsm.TextReplyTooBig)
			}
		}
		return fsm.Array(out)
	}
}

func runPubSubNumSub(f family) runFunc {
	return func(_ context.Context, s *session, args [][]byte) fsm.Result {
		out := make([]fsm.Result, 0, 2*len(args))
		for _, name := range args {
			out = append(out, fsm.Bulk(name), fsm.Int(int64(s.h.hub.subscribers(f, name))))
		}
		return fsm.Array(out)
	}
}
