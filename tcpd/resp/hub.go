// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// Limits of subscriptions.
const (
	// maxSubscribed and maxAllSubscribed bound the memory of the subscriptions of one connection and of
	// the node, in bytes as subscriptionSize counts.
	maxSubscribed    = 32 << 20
	maxAllSubscribed = 512 << 20
	// subscriptionOverhead is what a subscription takes beside its name.
	subscriptionOverhead = 256
	// matchSteps bounds the work of finding the patterns that match one channel, in bytes of patterns; those behind
	// it are taken not to. A hundred thousand sensible patterns take a few million.
	matchSteps = 1 << 26
)

func subscriptionSize(name []byte) int { return len(name) + subscriptionOverhead }

// family is one of the three kinds of names that one subscribes to.
type family uint8

const (
	channels family = iota
	patterns
	// shardChannels are apart from channels, even where names are equal.
	shardChannels
	families
)

// prefix is what the words of a family begin with.
func (f family) prefix() string { return [families]string{"", "p", "s"}[f] }

// hub knows who subscribed to what on this node.
//
// Invariants. A subscription is here from before its confirmation is written until before its end is
// confirmed. Everybody who subscribed to a channel on this node gets its messages in one order: that in
// which they took mu. Under mu nothing waits: messages go to writer.share.
type hub struct {
	mu   sync.Mutex
	by   [families]map[string]map[*subscriber]struct{}
	size int
	// patterns are the keys of by[patterns], nil when they changed since; the slice never changes.
	patterns [][]byte
}

// subscriber is a session as the hub knows it.
type subscriber struct {
	w *writer
	// proto is 2 or 3; guarded by hub.mu.
	proto int
	// names are what it subscribed to, size what they take; of the session's goroutine.
	names [families]map[string]struct{}
	size  int
}

// total counts all subscriptions.
func (sub *subscriber) total() int {
	return len(sub.names[channels]) + len(sub.names[patterns]) + len(sub.names[shardChannels])
}

// counted is the number in confirmations: shard channels are counted apart.
func (sub *subscriber) counted(f family) int {
	if f == shardChannels {
		return len(sub.names[f])
	}
	return len(sub.names[channels]) + len(sub.names[patterns])
}

func (h *hub) init() {
	for f := range h.by {
		h.by[f] = make(map[string]map[*subscriber]struct{})
	}
}

// add subscribes; false when there is no room for it.
func (h *hub) add(sub *subscriber, f family, name []byte) bool {
	if _, have := sub.names[f][string(name)]; have {
		return true
	}
	n := subscriptionSize(name)
	h.mu.Lock()
	defer h.mu.Unlock()
	if sub.size+n > maxSubscribed || h.size+n > maxAllSubscribed {
		return false
	}
	key := string(name)
	all := h.by[f][key]
	if all == nil {
		all = make(map[*subscriber]struct{})
		h.by[f][key] = all
		h.changedLocked(f)
	}
	all[sub] = struct{}{}
	h.size += n
	sub.size += n
	if sub.names[f] == nil {
		sub.names[f] = make(map[string]struct{})
	}
	sub.names[f][key] = struct{}{}
	return true
}

// remove ends a subscription, if there is one.
func (h *hub) remove(sub *subscriber, f family, name []byte) {
	if _, have := sub.names[f][string(name)]; !have {
		return
	}
	delete(sub.names[f], string(name))
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.by[f][string(name)]
	delete(all, sub)
	if len(all) == 0 {
		delete(h.by[f], string(name))
		h.changedLocked(f)
	}
	n := subscriptionSize(name)
	h.size -= n
	sub.size -= n
}

func (h *hub) changedLocked(f family) {
	if f == patterns {
		h.patterns = nil
	}
}

// leave ends all subscriptions: nothing is pushed for them once it returned.
func (h *hub) leave(sub *subscriber) {
	for f := range families {
		for name := range sub.names[f] {
			h.remove(sub, f, []byte(name))
		}
		sub.names[f] = nil
	}
}

// speak sets the protocol of what is pushed from now on.
func (h *hub) speak(sub *subscriber, proto int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sub.proto = proto
}

// publish pushes a message to those who subscribed here, and returns how many times. m is the caller's
// again when it returns.
func (h *hub) publish(m *shard.Message) (receivers int) {
	if m.Sharded {
		h.mu.Lock()
		defer h.mu.Unlock()
		return deliver(h.by[shardChannels][string(m.Channel)], []byte("smessage"), m.Channel, m.Data)
	}
	matching := h.matching(m.Channel)
	h.mu.Lock()
	defer h.mu.Unlock()
	receivers = deliver(h.by[channels][string(m.Channel)], []byte("message"), m.Channel, m.Data)
	for _, p := range matching {
		receivers += deliver(h.by[patterns][string(p)], []byte("pmessage"), p, m.Channel, m.Data)
	}
	return receivers
}

// matching are the patterns that match a channel. Patterns may take long, so nobody waits for them.
func (h *hub) matching(channel []byte) (list [][]byte) {
	h.mu.Lock()
	if h.patterns == nil && len(h.by[patterns]) > 0 {
		for _, p := range slices.Sorted(maps.Keys(h.by[patterns])) {
			h.patterns = append(h.patterns, []byte(p))
		}
	}
	all := h.patterns
	h.mu.Unlock()
	steps := matchSteps
	for _, p := range all {
		if fsm.GlobMatch(p, channel, &steps) {
			list = append(list, p)
		}
	}
	return list
}

// deliver pushes one frame to each, made once for each protocol. Those whose connection takes no more
// are not counted.
func deliver(to map[*subscriber]struct{}, parts ...[]byte) (receivers int) {
	var frames [2]*frame
	size := frameSize(parts)
	for sub := range to {
		if !sub.w.takes(size) {
			continue
		}
		f := &frames[sub.proto-2]
		if *f == nil {
			*f = &frame{bytes: pushFrame(sub.proto, parts)}
		}
		if sub.w.share(*f) == nil {
			receivers++
		}
	}
	return receivers
}

// frameSize bounds the size of a frame.
func frameSize(parts [][]byte) int {
	size := framing
	for _, p := range parts {
		size += framing + len(p)
	}
	return size
}

// pushFrame makes a frame of strings.
func pushFrame(proto int, parts [][]byte) []byte {
	size := frameSize(parts)
	kind := byte('*')
	if proto == 3 {
		kind = '>'
	}
	number := func(b []byte, kind byte, n int) []byte {
		return append(strconv.AppendInt(append(b, kind), int64(n), 10), '\r', '\n')
	}
	b := number(make([]byte, 0, size), kind, len(parts))
	for _, p := range parts {
		b = append(append(number(b, '$', len(p)), p...), '\r', '\n')
	}
	return b
}

// distinct counts the names of a family that somebody subscribed to.
func (h *hub) distinct(f family) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.by[f])
}

// subscribers counts those who subscribed to a name.
func (h *hub) subscribers(f family, name []byte) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.by[f][string(name)])
}

// list gives the names of a family in their order.
func (h *hub) list(f family) []string {
	h.mu.Lock()
	names := slices.Collect(maps.Keys(h.by[f]))
	h.mu.Unlock()
	slices.Sort(names)
	return names
}
