// SPDX-License-Identifier: Apache-2.0

package collections

import "slices"

// sparse is the part of a full node below which a node is joined with a neighbour, and joined the part up to
// which two become one, so that a node that splits is far from being joined again.
const (
	leafSparse   = pageItems / 4
	leafJoined   = pageItems * 3 / 4
	branchSparse = branchKids / 4
	branchJoined = branchKids * 3 / 4
)

// fork returns a tree of the same items; a change of one does not show in the other.
func (t *tree) fork() tree {
	t.own = nil
	return *t
}

// writable returns n, or a copy of it when another owns it.
func (t *tree) writable(n *node) *node {
	if t.own == nil {
		t.own = new(owner)
	}
	if n.page.own == t.own {
		return n
	}
	c := &node{
		keys: append(make([]uint64, 0, cap(n.keys)), n.keys...), names: slices.Clone(n.names),
		kids: slices.Clone(n.kids), counts: slices.Clone(n.counts),
	}
	if n.kids == nil {
		n.page.cloneTo(&c.page, t.own)
	} else {
		c.page.own = t.own
	}
	return c
}

func (t *tree) newNode() *node {
	n := new(node)
	n.page.own, n.page.buf = t.own, []byte{}
	return n
}

// split is what a node that became too full gives its parent: the right half, and what no item there is less
// than.
type split struct {
	right *node
	key   uint64
	name  []byte
}

// put stores an item under its key and name, in place of the one that has both. It keeps an item longer than
// inlineMax. It returns the length of the item it replaced, or -1.
func (t *tree) put(key uint64, name, item []byte) (before int) {
	if t.root == nil {
		if t.own == nil {
			t.own = new(owner)
		}
		t.root = t.newNode()
	}
	t.root = t.writable(t.root)
	before, s := t.putBelow(t.root, key, name, item, true)
	if s.right != nil {
		root := t.newNode()
		root.kids = []*node{t.root, s.right}
		root.keys = []uint64{0, s.key}
		root.counts = []int{t.root.size(), s.right.size()}
		if s.name != nil {
			root.names = [][]byte{nil, s.name}
		}
		t.root = root
	}
	if before < 0 {
		t.n++
	}
	if t.summed {
		t.sum.add(hashItem(item))
	}
	return before
}

// putBelow is put for a subtree whose root n is writable; last is true on the right edge of the tree.
func (t *tree) putBelow(n *node, key uint64, name, item []byte, last bool) (before int, s split) {
	if n.kids == nil {
		return t.putLeaf(n, key, name, item, last)
	}
	i := n.route(key, name)
	last = last && i == len(n.kids)-1
	kid := t.writable(n.kids[i])
	n.kids[i] = kid
	before, s = t.putBelow(kid, key, name, item, last)
	if before < 0 {
		n.counts[i]++
	}
	if s.right == nil {
		return before, s
	}
	moved := s.right.size()
	n.counts[i] -= moved
	n.insertKid(i+1, s, moved)
	if len(n.kids) <= branchKids {
		return before, split{}
	}
	m := branchKids / 2
	if last {
		m = branchKids
	}
	return before, t.splitBranch(n, m)
}

func (n *node) insertKid(i int, s split, count int) {
	n.kids = slices.Insert(n.kids, i, s.right)
	n.keys = slices.Insert(n.keys, i, s.key)
	n.counts = slices.Insert(n.counts, i, count)
	if s.name != nil && n.names == nil {
		n.names = make([][]byte, len(n.kids)-1)
	}
	if n.names != nil {
		n.names = slices.Insert(n.names, i, s.name)
	}
}

func (t *tree) splitBranch(n *node, m int) split {
	right := t.newNode()
	right.kids = slices.Clone(n.kids[m:])
	right.keys = slices.Clone(n.keys[m:])
	right.counts = slices.Clone(n.counts[m:])
	s := split{right: right, key: n.keys[m]}
	if n.names != nil {
		s.name = n.names[m]
		right.names = slices.Clone(n.names[m:])
		clear(n.names[m:])
		n.names = n.names[:m]
	}
	clear(n.kids[m:])
	n.kids, n.keys, n.counts = n.kids[:m], n.keys[:m], n.counts[:m]
	return s
}

func (t *tree) putLeaf(n *node, key uint64, name, item []byte, last bool) (before int, s split) {
	i, equal := n.lower(t.kind, key, name)
	if equal {
		old := n.page.at(i)
		if t.summed {
			t.sum.sub(hashItem(old))
		}
		before = len(old)
		n.page.set(0, len(n.keys), i, item)
		return before, split{}
	}
	if len(n.keys) < pageItems {
		n.insertItem(i, key, item)
		return -1, split{}
	}
	m := pageItems / 2
	if last && i == pageItems {
		m = pageItems // items that come in order fill their leaves
	}
	right := t.newNode()
	n.page.split(m, pageItems, &right.page)
	right.keys = append(make([]uint64, 0, pageItems), n.keys[m:]...)
	n.keys = n.keys[:m]
	if i > m || i == pageItems {
		right.insertItem(i-m, key, item)
	} else {
		n.insertItem(i, key, item)
	}
	s = split{right: right, key: right.keys[0]}
	if n.keys[len(n.keys)-1] == s.key {
		s.name = owned(t.kind.name(right.page.at(0)))
	}
	return -1, s
}

func (n *node) insertItem(i int, key uint64, item []byte) {
	n.page.insert(len(n.keys), i, item)
	n.keys = slices.Insert(n.keys, i, key)
}

// remove takes out the item of (key, name), which is there.
func (t *tree) remove(key uint64, name []byte) {
	t.root = t.writable(t.root)
	t.removeBelow(t.root, key, name)
	t.n--
	for len(t.root.kids) == 1 {
		t.root = t.root.kids[0]
	}
	if len(t.root.keys) == 0 {
		t.root = nil
	}
}

func (t *tree) removeBelow(n *node, key uint64, name []byte) {
	if n.kids == nil {
		i, equal := n.lower(t.kind, key, name)
		assert(equal, "an item is removed that is not there")
		if t.summed {
			t.sum.sub(hashItem(n.page.at(i)))
		}
		n.page.remove(len(n.keys), i)
		n.keys = slices.Delete(n.keys, i, i+1)
		return
	}
	i := n.route(key, name)
	kid := t.writable(n.kids[i])
	n.kids[i] = kid
	t.removeBelow(kid, key, name)
	n.counts[i]--
	full, joined := leafSparse, leafJoined
	if kid.kids != nil {
		full, joined = branchSparse, branchJoined
	}
	switch own := len(kid.keys); {
	case own == 0:
		n.removeKid(i)
	case own >= full:
	case i > 0 && own+len(n.kids[i-1].keys) <= joined:
		t.join(n, i-1)
	case i+1 < len(n.kids) && own+len(n.kids[i+1].keys) <= joined:
		t.join(n, i)
	}
}

func (n *node) removeKid(i int) {
	n.kids = slices.Delete(n.kids, i, i+1)
	n.keys = slices.Delete(n.keys, i, i+1)
	n.counts = slices.Delete(n.counts, i, i+1)
	if n.names != nil {
		n.names = slices.Delete(n.names, i, i+1)
	}
}

// join moves all of kid i+1 to the end of kid i.
func (t *tree) join(n *node, i int) {
	left, right := t.writable(n.kids[i]), n.kids[i+1]
	n.kids[i] = left
	if left.kids == nil {
		left.page.join(len(left.keys), len(right.keys), &right.page)
		left.keys = append(left.keys, right.keys...)
	} else {
		left.joinBranch(right, n, i+1)
	}
	n.counts[i] += n.counts[i+1]
	n.removeKid(i + 1)
}

// joinBranch appends the kids of right, kid i of parent.
func (n *node) joinBranch(right, parent *node, i int) {
	at := len(n.keys)
	n.kids = append(n.kids, right.kids...)
	n.counts = append(n.counts, right.counts...)
	n.keys = append(n.keys, right.keys...)
	n.keys[at] = parent.keys[i]
	var name []byte
	if parent.names != nil {
		name = parent.names[i]
	}
	if name == nil && n.names == nil && right.names == nil {
		return
	}
	if n.names == nil {
		n.names = make([][]byte, at, len(n.kids))
	}
	if right.names == nil {
		n.names = append(n.names, make([][]byte, len(right.kids))...)
	} else {
		n.names = append(n.names, right.names...)
	}
	n.names[at] = name
}
