// SPDX-License-Identifier: Apache-2.0

package raftnode

import "testing"

// TestMarks: however many appends there were, the oldest and the newest are remembered, and so is one of
// any few between them; a snapshot at an index takes off what lies below it, and never what lies above.
func TestMarks(t *testing.T) {
	const each = 100 // bytes of an entry
	for _, tt := range []struct {
		name    string
		entries uint64
		// marks is how many are left, gap the largest difference of two neighbours' indexes.
		marks int
		gap   uint64
		// at is the index of a snapshot, left how many entries are reckoned to lie behind it.
		at   uint64
		left int64
	}{
		{name: "one", entries: 1, marks: 1, at: 1, left: 0},
		{name: "before the oldest", entries: 10, marks: 10, gap: 1, at: 0, left: 10},
		{name: "full", entries: maxMarks, marks: maxMarks, gap: 1, at: maxMarks - 1, left: 1},
		{name: "halved, at the oldest", entries: maxMarks + 1, marks: maxMarks/2 + 1, gap: 2, at: 1, left: maxMarks},
		{name: "halved, before the newest", entries: maxMarks + 1, marks: maxMarks/2 + 1, gap: 2, at: maxMarks, left: 2},
		{name: "halved, at the newest", entries: maxMarks + 1, marks: maxMarks/2 + 1, gap: 2, at: maxMarks + 1, left: 0},
		{name: "halved, behind the newest", entries: maxMarks + 1, marks: maxMarks/2 + 1, gap: 2, at: maxMarks + 9, left: 0},
		{name: "full again", entries: 3 * maxMarks / 2, marks: maxMarks, gap: 2, at: 3*maxMarks/2 - 1, left: 1},
		{name: "halved twice", entries: 3*maxMarks/2 + 1, marks: maxMarks/2 + 1, gap: 4, at: 3 * maxMarks / 2, left: 2},
		{name: "halved often", entries: 9*maxMarks/2 + 1, marks: maxMarks/2 + 1, gap: 256, at: 9 * maxMarks / 2, left: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &meter{}
			for i := range tt.entries {
				m.addLocked(i+1, each)
				if got := m.mu.marks[len(m.mu.marks)-1].index; got != i+1 {
					t.Fatalf("the newest mark is at %d, not at %d", got, i+1)
				}
				if got := m.mu.marks[0].index; got != 1 {
					t.Fatalf("with %d entries the oldest mark is at %d", i+1, got)
				}
			}
			if got := len(m.mu.marks); got != tt.marks {
				t.Errorf("%d marks, not %d", got, tt.marks)
			}
			for i := 1; i < len(m.mu.marks); i++ {
				before, at := m.mu.marks[i-1], m.mu.marks[i]
				if gap := at.index - before.index; gap == 0 || gap > tt.gap {
					t.Errorf("a mark at %d behind one at %d", at.index, before.index)
				}
				if at.total != int64(at.index)*each {
					t.Errorf("the mark at %d says %d bytes", at.index, at.total)
				}
			}
			m.snapshotted(tt.at)
			if bytes := m.logged(); bytes != tt.left*each {
				t.Errorf("behind a snapshot at %d are %d bytes, not %d", tt.at, bytes, tt.left*each)
			}
		})
	}
}
