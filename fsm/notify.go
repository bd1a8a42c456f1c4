// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"strings"

	"github.com/kvorum/kvorum/store"
)

// Events tell of what writes did to keys, as Redis' keyspace notifications do. They are no part of the state: a
// replica tells of the entries that it proposed itself, so of each entry at most one replica tells, and none
// tells of what it applies for others or once more after a restart. An event is told under the locks of its key's
// slot, when the write is done; so who hears of it and then reads sees the write.

// Classes are kinds of events, and the ways in which clients get them.
type Classes uint32

// The letters of notify-keyspace-events, in the order in which Redis writes them.
const (
	ClassGeneric   Classes        = 1 << iota // g
	ClassString                               // $
	ClassList                                 // l
	ClassSet                                  // s
	ClassHash                                 // h
	ClassZSet                                 // z
	ClassExpired                              // x
	ClassEvicted                              // e
	classStream                               // t, of which there are none
	classModule                               // d, of which there are none
	ClassNew                                  // n
	ClassByKey                                // K: clients name a key and get events
	ClassByEvent                              // E: clients name an event and get keys
	ClassMiss                                 // m
	classesEnd                                // no class
	classAll       = ClassNew - 1             // A
	classLetters   = "g$lshzxetdnKEm"
	classAllLetter = 'A'
)

// ParseClasses reads a value of notify-keyspace-events; false when a letter is not known.
func ParseClasses(text string) (c Classes, ok bool) {
	for _, letter := range text {
		at := strings.IndexRune(classLetters, letter)
		switch {
		case letter == classAllLetter:
			c |= classAll
		case at < 0:
			return 0, false
		default:
			c |= 1 << at
		}
	}
	return c, true
}

// String is what ParseClasses reads.
func (c Classes) String() string {
	var b strings.Builder
	if c&classAll == classAll {
		b.WriteByte(classAllLetter)
		c &^= classAll
	}
	for i, letter := range classLetters {
		if c&(1<<i) != 0 {
			b.WriteRune(letter)
		}
	}
	return b.String()
}

// Listener hears of events. It is local to a replica and no part of its state.
type Listener interface {
	// Wanted gives the classes of events that somebody wants to hear of. It is asked once for each write, and
	// for each read that misses a key, and costs no more than a load.
	Wanted() Classes
	// Happened is called for each event of a wanted class: those of one key in their order by the applying
	// goroutine, those of ClassMiss by any. It must be quick, must not call the keyspace, and does not keep key.
	Happened(c Classes, event string, key []byte)
}

// Names of events that no row has.
const (
	eventDel     = "del"
	eventNew     = "new"
	eventExpire  = "expire"
	eventExpired = "expired"
	eventEvicted = "evicted"
	eventMiss    = "keymiss"
)

// wantedBy gives the classes that somebody wants to hear of in this entry.
func (k *Keyspace) wantedBy(ctx *Ctx) Classes {
	if k.listener == nil || !ctx.own {
		return 0
	}
	return k.listener.Wanted()
}

// beginEvents tells of what goes at the front of an entry; nil when nobody wants to hear of due keys.
func (k *Keyspace) beginEvents(wanted Classes) func(d store.DueKey) {
	if wanted&ClassExpired == 0 {
		return nil
	}
	return func(d store.DueKey) { k.listener.Happened(ClassExpired, eventExpired, d.Key) }
}

// missed tells that a read met no key.
func (x *execution) missed(key []byte) {
	if x.k.listener == nil || x.ctx.Index != 0 && !x.ctx.own {
		return
	}
	if x.k.listener.Wanted()&ClassMiss != 0 {
		x.k.listener.Happened(ClassMiss, eventMiss, key)
	}
}

// perform runs the handler of the command, and tells of what it did.
func (x *execution) perform(args [][]byte) Result {
	if x.wanted == 0 || x.spec.tells == nil {
		return x.spec.run(x, args)
	}
	o := &x.observer
	o.begin(x, args)
	res := x.spec.run(x, args)
	if o.end(); !res.IsError() {
		x.spec.tells(o, args, &res)
	}
	o.forget()
	return res
}

// keyState is what events depend on.
type keyState struct {
	// found: there is a live entry. dead: there is one past its deadline.
	found, dead bool
	version     uint64
	at          int64 // deadline
}

// keyChange is what a command did to one of its keys.
type keyChange struct {
	key     []byte
	slot    uint16
	was, is keyState
	// again: the key stood further left in the command, too.
	again bool
}

// changed tells whether there is another value, or none any more.
func (c *keyChange) changed() bool { return c.was.found != c.is.found || c.was.version != c.is.version }

// gone tells whether the key was there and is not any more, come the other way round.
func (c *keyChange) gone() bool { return c.was.found && !c.is.found }

func (c *keyChange) come() bool { return !c.was.found && c.is.found }

// observer compares the keys of one command before and after.
type observer struct {
	x    *execution
	keys []keyChange
}

// maxObserved bounds the room for keys that is kept from one command to the next.
const maxObserved = 1024

func (o *observer) begin(x *execution, args [][]byte) {
	o.x = x
	for _, key := range x.spec.Keys(args) {
		o.keys = append(o.keys, keyChange{key: key, slot: x.keySlots[len(o.keys)]})
	}
	seen := map[string]struct{}(nil)
	if len(o.keys) > 1 {
		seen = make(map[string]struct{}, len(o.keys))
	}
	for i := range o.keys {
		c := &o.keys[i]
		c.was = o.look(c)
		c.again = seen != nil && !remember(seen, c.key)
	}
}

func (o *observer) look(c *keyChange) keyState {
	ref, ok := o.x.k.st.Lookup(c.slot, c.key)
	if !ok {
		return keyState{}
	}
	dead := ref.Dead(o.x.now)
	return keyState{found: !dead, dead: dead, version: ref.Version(), at: ref.ExpireAt()}
}

// end looks at the keys again, and tells of those that were past their deadline and went on the way.
func (o *observer) end() {
	for i := range o.keys {
		c := &o.keys[i]
		c.is = o.look(c)
		if c.was.dead && !c.again && !c.is.dead {
			o.tell(ClassExpired, eventExpired, c)
		}
		if !c.was.found {
			c.was = keyState{}
		}
		if !c.is.found {
			c.is = keyState{}
		}
	}
}

func (o *observer) forget() {
	clear(o.keys)
	if o.keys = o.keys[:0]; cap(o.keys) > maxObserved {
		o.keys = nil
	}
}

func (o *observer) tell(class Classes, event string, c *keyChange) {
	if o.x.wanted&class != 0 {
		o.x.k.listener.Happened(class, event, c.key)
	}
}

// tellNew tells that the key was added, which Redis does before anything else.
func (o *observer) tellNew(c *keyChange) {
	if !c.again {
		o.tell(ClassNew, eventNew, c)
	}
}

// tellAll tells of an event, of a key that it brought, and of one that it took.
func (o *observer) tellAll(class Classes, event string, c *keyChange) {
	if c.come() {
		o.tellNew(c)
	}
	o.tell(class, event, c)
	o.tellGone(c)
}

func (o *observer) tellGone(c *keyChange) {
	if c.gone() && !c.again {
		o.tell(ClassGeneric, eventDel, c)
	}
}
