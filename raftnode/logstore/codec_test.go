// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
)

// TestEncodeRoom: the entries of one call lie beside each other in the room, those that find no place in it have memory
// of their own, and the next call uses the room again.
func TestEncodeRoom(t *testing.T) {
	room := &encodeRoom{}
	c := codec{tag: 7, room: room}
	for call := range 3 {
		room.reset()
		var made [][]byte
		var logs []*raft.Log
		for i, size := range []int{0, 10, encodeRoomSize / 2, encodeRoomSize, 5, encodeRoomSize / 2, 20} {
			l := &raft.Log{Index: uint64(i + 1), Term: uint64(call + 1), Data: bytes.Repeat([]byte{byte(i + call)}, size)}
			var b bytes.Buffer
			if err := c.Encode(l, &b); err != nil {
				t.Fatal(err)
			}
			made, logs = append(made, b.Bytes()), append(logs, l)
		}
		for i, l := range logs {
			var got raft.Log
			if err := c.Decode(made[i], &got); err != nil || got.Index != l.Index || got.Term != l.Term || !bytes.Equal(got.Data, l.Data) {
				t.Errorf("call %d, entry %d: %v, %d bytes of entry %d", call, i, err, len(got.Data), got.Index)
			}
		}
	}
	l := &raft.Log{Index: 1, Data: make([]byte, 1000)}
	if n := testing.AllocsPerRun(100, func() {
		room.reset()
		for range 20 {
			var b bytes.Buffer
			if err := c.Encode(l, &b); err != nil {
				panic(fmt.Sprint(err))
			}
		}
	}); n > 20 { // the buffers themselves
		t.Errorf("20 entries took %v allocations", n)
	}
}
