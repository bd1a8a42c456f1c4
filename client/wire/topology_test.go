// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"reflect"
	"testing"
)

func sampleTopology() *Topology {
	t := &Topology{
		Version: 9, Epoch: 3,
		Nodes:  []TopologyNode{{"a", "h1:7402"}, {"b", "h2:7402"}, {"c", ""}},
		Groups: []TopologyGroup{{ID: 1, Leader: 0, Replicas: []int16{0, 1, 2}}, {ID: 7, Leader: -1, Replicas: []int16{1}}},
		Owners: make([]int16, Slots),
	}
	for i := range t.Owners {
		t.Owners[i] = int16(i/100%3 - 1)
	}
	return t
}

func TestTopologyRoundTrip(t *testing.T) {
	for _, want := range []*Topology{sampleTopology(), {Version: 4, Epoch: 1}, {}} {
		got, err := ParseTopology(body(t, AppendTopology(nil, 1, want)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("version %d: err %v", want.Version, err)
		}
	}
}

func TestTopologyMalformed(t *testing.T) {
	tests := []struct {
		name string
		edit func(*Topology)
	}{
		{"leader is no node", func(t *Topology) { t.Groups[0].Leader = 3 }},
		{"leader below -1", func(t *Topology) { t.Groups[0].Leader = -2 }},
		{"replica is no node", func(t *Topology) { t.Groups[0].Replicas[0] = -1 }},
		{"owner is no group", func(t *Topology) { t.Owners[5] = 2 }},
		{"a slot too many", func(t *Topology) { t.Owners = append(t.Owners, 0) }},
		{"a slot too few", func(t *Topology) { t.Owners = t.Owners[1:] }},
	}
	for _, tt := range tests {
		top := sampleTopology()
		tt.edit(top)
		if _, err := ParseTopology(body(t, AppendTopology(nil, 1, top))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	whole := body(t, AppendTopology(nil, 1, &Topology{Version: 1, Nodes: []TopologyNode{{"a", "b"}}}))
	for i := range whole {
		if _, err := ParseTopology(whole[:i]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
}

// Goal: slots are those of Redis Cluster: its published example and the rules for hash tags.
func TestSlotOf(t *testing.T) {
	if got := SlotOf([]byte("123456789")); got != 0x31c3 {
		t.Errorf("123456789: %#x", got)
	}
	if got := SlotOf([]byte("foo")); got != 12182 {
		t.Errorf("foo: %d", got)
	}
	same := [][2]string{
		{"{user1000}.following", "{user1000}.followers"},
		{"{user1000}.following", "user1000"},
		{"foo{{bar}}zap", "{bar"},
		{"foo{bar}{zap}", "bar"},
	}
	for _, s := range same {
		if SlotOf([]byte(s[0])) != SlotOf([]byte(s[1])) {
			t.Errorf("%q and %q differ", s[0], s[1])
		}
	}
	if SlotOf([]byte("foo{}{bar}")) == SlotOf([]byte("bar")) {
		t.Error("an empty tag was honoured")
	}
	if SlotOf(nil) != 0 {
		t.Error("the empty key is not in slot 0")
	}
}

func TestCommandTable(t *testing.T) {
	all := All()
	for i, c := range all {
		if i > 0 && all[i-1].Op >= c.Op {
			t.Errorf("%s: not in ascending order", c.Name)
		}
		if got := LookupName(c.Name); got == nil || got.Op != c.Op {
			t.Errorf("%s: not found by name", c.Name)
		}
		if got := Lookup(c.Op); got == nil || got.Name != c.Name {
			t.Errorf("%s: not found by number", c.Name)
		}
	}
	if Lookup(OpNamed) != nil || LookupName("NOSUCH") != nil || Lookup(65535) != nil {
		t.Error("found what is not there")
	}
}

func TestKeySlot(t *testing.T) {
	b := func(list ...string) (args [][]byte) {
		for _, s := range list {
			args = append(args, []byte(s))
		}
		return args
	}
	tests := []struct {
		name string
		op   Op
		args [][]byte
		ok   bool
	}{
		{"one key", OpGet, b("foo"), true},
		{"no argument", OpGet, nil, false},
		{"no key", OpDBSize, nil, false},
		{"same tag", OpMSet, b("{foo}1", "v", "{foo}2", "w"), true},
		{"values do not count", OpMSet, b("foo", "bar", "{foo}", "zap"), true},
		{"several slots", OpDel, b("foo", "bar"), false},
		{"counted keys", OpZUnion, b("2", "foo", "{foo}1", "WITHSCORES"), true},
		{"counted keys in several slots", OpZUnion, b("2", "foo", "bar"), false},
		{"a key and counted keys", OpZUnionStore, b("foo", "1", "{foo}1"), true},
		{"a key and counted keys in several slots", OpZUnionStore, b("foo", "1", "bar"), false},
		{"too many keys announced", OpZUnion, b("2", "foo"), false},
		{"no number of keys", OpZUnion, b("x", "foo"), false},
	}
	for _, tt := range tests {
		slot, ok := Lookup(tt.op).KeySlot(tt.args)
		if ok != tt.ok || ok && slot != 12182 {
			t.Errorf("%s: slot %d, ok %v", tt.name, slot, ok)
		}
	}
}
