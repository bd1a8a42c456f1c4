// SPDX-License-Identifier: Apache-2.0

package fsm_test

import (
	"fmt"

	"github.com/kvorum/kvorum/fsm"
)

// A replica applies entries and answers reads.
func Example() {
	table := fsm.Data()
	m := fsm.NewMachine(table, fsm.NewKeyspace(table, fsm.KeyspaceConfig{}), fsm.Options{})

	key := []byte("greeting")
	own := fsm.Own(1, []uint16{fsm.SlotOf(key)})
	set := fsm.Command{Op: fsm.OpSet, Args: [][]byte{key, []byte("hello")}}
	sub := &fsm.Sub{Writes: 2, Body: fsm.AppendCommand(fsm.AppendCommand(nil, &own), &set)}
	entry := fsm.AppendSub(fsm.AppendEntryHeader(nil, &fsm.Header{Clock: 1_700_000_000_000}), sub)
	m.Apply(1, 1, entry, []*fsm.Sub{sub})
	fmt.Printf("%s\n", sub.Results[1].Str)

	var out [1]fsm.Result
	m.Query([]fsm.Command{{Op: fsm.OpGet, Args: [][]byte{key}}}, out[:], 0, nil)
	fmt.Printf("%s\n", out[0].Str)
	// Output:
	// OK
	// hello
}

// An edge finds a command by its name and refuses what needs no state.
func ExampleTable_Check() {
	table := fsm.Data()
	spec, _ := table.Lookup([]byte("get"))
	res, ok := table.Check(&fsm.Command{Op: spec.Op})
	fmt.Printf("%v %s\n", ok, res.Str)
	// Output: false ERR wrong number of arguments for 'get' command
}
