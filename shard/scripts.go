// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"container/list"
	"context"
	"strings"
	"sync"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/fsm/script"
)

// Limits of scripts on a node. SCRIPTS.md says what for.
const (
	// maxScripts run at one time, maxScriptWaiters wait for that, or for their slots.
	maxScripts       = 8
	maxScriptWaiters = 1024
	// maxScriptBytes bounds the texts and arguments of those that run or wait.
	maxScriptBytes = 128 << 20
	// maxScriptTries is how often a script begins anew because others wrote to its keys.
	maxScriptTries = 32
	// maxCachedScripts and maxCachedBytes bound the cache. A compiled script counts as compiledCost times its text.
	maxCachedScripts = 4096
	maxCachedBytes   = 64 << 20
	compiledCost     = 8
	// maxRested is what a trial may have held to be used again, in bytes.
	maxRested = 1 << 20
	// scriptBudget is what a script's caller has beside the time that the script may run.
	scriptBudget = DefaultTimeout
)

// Texts about scripts.
const (
	textScriptTries = "TRYAGAIN other clients wrote to the script's keys each time it ran: nothing was applied"
	textScriptReply = "ERR the script's reply exceeds maximum allowed size: nothing was applied"
)

// Scripts is what a node knows of scripts. Every method may be called from any goroutine.
type Scripts struct {
	r      *Router
	engine script.Engine
	// seats are taken by the scripts that run.
	seats chan struct{}

	mu struct {
		sync.Mutex
		// cache finds the elements of recent, the latest used first, whose values are *cachedScript.
		cache  map[string]*list.Element
		recent list.List
		bytes  int
		// running can be killed.
		running      map[*script.Stop]struct{}
		waiting      int
		waitingBytes int64
		// turns are those of slots with somebody in them or waiting.
		turns map[uint16]*scriptTurn
		// trials are at rest.
		trials []*fsm.Trial
		// number is that of the newest frame to any node; sources are the nodes that sent some here.
		number  uint64
		sources map[string]*scriptSource
	}
}

// scriptWindow is how far behind the newest frame of a node another may come.
const scriptWindow = 4096

// scriptSource knows the frames of a node, so that a copy is not served again.
type scriptSource struct {
	incarnation, newest uint64
	seen                [scriptWindow]bool // by number modulo scriptWindow, of those in the window
}

// fresh tells whether a frame is no copy, as far as is known.
func (c *scriptSource) fresh(incarnation, number uint64) bool {
	switch {
	case incarnation < c.incarnation:
		return false
	case incarnation > c.incarnation:
		*c = scriptSource{incarnation: incarnation}
	}
	if number+scriptWindow <= c.newest {
		return false
	}
	if number > c.newest+scriptWindow {
		c.seen, c.newest = [scriptWindow]bool{}, number-1
	}
	for c.newest < number {
		c.newest++
		c.seen[c.newest%scriptWindow] = false
	}
	seen := &c.seen[number%scriptWindow]
	if *seen {
		return false
	}
	*seen = true
	return true
}

// fresh tells whether a frame of another node is no copy. Nodes that are no members are forgotten when there are many.
func (s *Scripts) fresh(node string, incarnation, number uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.mu.sources[node]
	if c == nil {
		if m := s.r.m.Load(); m != nil && len(s.mu.sources) >= MaxNodes {
			for other := range s.mu.sources {
				if _, member := m.Nodes[other]; !member {
					delete(s.mu.sources, other)
				}
			}
		}
		c = new(scriptSource)
		s.mu.sources[node] = c
	}
	return c.fresh(incarnation, number)
}

func (s *Scripts) nextNumber() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.number++
	return s.mu.number
}

type cachedScript struct {
	body    []byte
	program *script.Program
}

func (c *cachedScript) cost() int { return compiledCost*len(c.body) + 512 }

// scriptTurn is taken by the script that writes to a slot.
type scriptTurn struct {
	c     chan struct{}
	users int // guarded by Scripts.mu
}

func (s *Scripts) init(r *Router) {
	s.r = r
	s.seats = make(chan struct{}, maxScripts)
	s.mu.cache = make(map[string]*list.Element)
	s.mu.running = make(map[*script.Stop]struct{})
	s.mu.sources = make(map[string]*scriptSource)
	s.mu.turns = make(map[uint16]*scriptTurn)
}

// Scripts are the scripts of this node.
func (r *Router) Scripts() *Scripts { return &r.scripts }

// Load keeps a script on all nodes that can be reached, and gives its name. bad is the reply when it is none.
func (s *Scripts) Load(ctx context.Context, body []byte) (sha string, bad *fsm.Result) {
	c, bad := s.compile(body)
	if bad != nil {
		return "", bad
	}
	s.r.bus.Publish(ctx, &Message{Script: true, Channel: []byte(busScriptLoad), Data: c.body})
	return c.program.SHA, nil
}

// Flush forgets all scripts, on all nodes that can be reached.
func (s *Scripts) Flush(ctx context.Context) {
	s.forget()
	s.r.bus.Publish(ctx, &Message{Script: true, Channel: []byte(busScriptFlush)})
}

// Exists tells whether this node has a script.
func (s *Scripts) Exists(sha []byte) bool { return s.find(string(sha)) != nil }

// Kill ends the scripts that run on this node, and tells whether there was one. Nothing of them is applied: effects
// come at the end.
func (s *Scripts) Kill() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for stop := range s.mu.running {
		stop.Kill()
	}
	return len(s.mu.running) > 0
}

// The channels of messages about scripts.
const (
	busScriptLoad  = "load"
	busScriptFlush = "flush"
)

// hear takes a message of another node, and tells whether it could.
func (s *Scripts) hear(m *Message) int {
	switch string(m.Channel) {
	case busScriptFlush:
		s.forget()
		return 1
	case busScriptLoad:
		if _, bad := s.compile(m.Data); bad == nil {
			return 1
		}
	}
	return 0
}

func (s *Scripts) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.mu.cache)
	s.mu.recent.Init()
	s.mu.bytes = 0
}

// find gives a script by its name in any case, nil when it is not here.
func (s *Scripts) find(sha string) *cachedScript {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.mu.cache[strings.ToLower(sha)]
	if e == nil {
		return nil
	}
	s.mu.recent.MoveToFront(e)
	c, _ := e.Value.(*cachedScript)
	return c
}

// compile gives the script of a text, and keeps it.
func (s *Scripts) compile(body []byte) (*cachedScript, *fsm.Result) {
	if c := s.find(script.SHA(body)); c != nil {
		return c, nil
	}
	program, bad := script.Compile(body)
	if bad != nil {
		return nil, bad
	}
	c := &cachedScript{body: append([]byte{}, body...), program: program}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.cache[program.SHA] == nil {
		s.mu.cache[program.SHA] = s.mu.recent.PushFront(c)
		s.mu.bytes += c.cost()
	}
	for s.mu.recent.Len() > maxCachedScripts || s.mu.bytes > maxCachedBytes {
		old := s.mu.recent.Back()
		o, _ := s.mu.recent.Remove(old).(*cachedScript)
		delete(s.mu.cache, o.program.SHA)
		s.mu.bytes -= o.cost()
	}
	return c, nil
}

// trial gives a keyspace for one script; it goes back by rest.
func (s *Scripts) trial() *fsm.Trial {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.mu.trials); n > 0 {
		t := s.mu.trials[n-1]
		s.mu.trials = s.mu.trials[:n-1]
		return t
	}
	var key [16]byte
	if s.r.cfg.HashKey != nil {
		key = s.r.cfg.HashKey()
	}
	return fsm.NewTrial(s.r.cfg.Table, key)
}

func (s *Scripts) rest(t *fsm.Trial) {
	if t.Bytes() > maxRested {
		return
	}
	t.Begin(&fsm.Look{}, 0) // which empties it
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.trials) < maxScripts {
		s.mu.trials = append(s.mu.trials, t)
	}
}

// errScripts: too many scripts wait.
var errScripts = &refusal{verdict: refusedOverloaded}

// wait takes a place among those who wait; done gives it back.
func (s *Scripts) wait(q *scriptCall) (done func(), ok bool) {
	size := int64(len(q.body))
	for _, list := range [][][]byte{q.keys, q.args} {
		for _, arg := range list {
			size += int64(len(arg))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.waiting >= maxScriptWaiters || s.mu.waitingBytes+size > maxScriptBytes {
		return nil, false
	}
	s.mu.waiting++
	s.mu.waitingBytes += size
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.waiting--
		s.mu.waitingBytes -= size
	}, true
}

// sit waits for a seat.
func (s *Scripts) sit(ctx context.Context) (up func(), err error) {
	select {
	case s.seats <- struct{}{}:
		return func() { <-s.seats }, nil
	case <-ctx.Done():
		return nil, errScripts
	}
}

// take waits for the turns of slots, which are in ascending order.
func (s *Scripts) take(ctx context.Context, slots []uint16) (give func(), err error) {
	var held []*scriptTurn
	give = func() {
		for _, t := range held {
			<-t.c
		}
		s.leave(slots)
	}
	s.mu.Lock()
	turns := make([]*scriptTurn, len(slots))
	for i, slot := range slots {
		t := s.mu.turns[slot]
		if t == nil {
			t = &scriptTurn{c: make(chan struct{}, 1)}
			s.mu.turns[slot] = t
		}
		t.users++
		turns[i] = t
	}
	s.mu.Unlock()
	for _, t := range turns {
		select {
		case t.c <- struct{}{}:
			held = append(held, t)
		case <-ctx.Done():
			give()
			return nil, errScripts
		}
	}
	return give, nil
}

func (s *Scripts) leave(slots []uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, slot := range slots {
		t := s.mu.turns[slot]
		if t.users--; t.users == 0 {
			delete(s.mu.turns, slot)
		}
	}
}
