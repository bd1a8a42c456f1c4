// SPDX-License-Identifier: Apache-2.0

package store

import "github.com/kvorum/kvorum/store/collections"

// The values of collections, as the package of that name has them.
type (
	List     = collections.List
	ListEdit = collections.ListEdit
	Hash     = collections.Hash
	HashEdit = collections.HashEdit
	Set      = collections.Set
	SetEdit  = collections.SetEdit
	ZSet     = collections.ZSet
	ZSetEdit = collections.ZSetEdit
)

// edits are the handles with which collections are changed, one of each kind: one goroutine writes.
type edits struct {
	list listEditor
	hash hashEditor
	set  setEditor
	zset zsetEditor
}

// editor is a handle of any kind. An object is a *collections.BigList and so on.
type editor interface {
	begin(packed []byte, inPlace bool)
	beginLarge(object any)
	fork(object any) any
	// weight is that of the value as it is now.
	weight() weight
	// end returns one form or, for a collection left empty, none.
	end() (dirty bool, packed []byte, large any)
	// load adds a piece of a section and returns its length.
	load(piece []byte) (n int, err error)
}

type listEditor struct{ collections.ListEdit }

func (e *listEditor) begin(packed []byte, inPlace bool) { e.Begin(packed, inPlace) }
func (e *listEditor) beginLarge(o any)                  { e.BeginLarge(o.(*collections.BigList)) }
func (e *listEditor) fork(o any) any                    { return o.(*collections.BigList).Fork() }
func (e *listEditor) weight() weight                    { return weight{e.Bytes(), e.Len()} }
func (e *listEditor) load(p []byte) (int, error)        { return e.Load(p) }

func (e *listEditor) end() (dirty bool, packed []byte, large any) {
	dirty, packed, o := e.End()
	if o != nil {
		large = o
	}
	return dirty, packed, large
}

type hashEditor struct{ *collections.HashEdit }

func (e *hashEditor) begin(packed []byte, inPlace bool) { e.Begin(packed, inPlace) }
func (e *hashEditor) beginLarge(o any)                  { e.BeginLarge(o.(*collections.BigHash)) }
func (e *hashEditor) fork(o any) any                    { return o.(*collections.BigHash).Fork() }
func (e *hashEditor) weight() weight                    { return weight{e.Bytes(), e.Len()} }
func (e *hashEditor) load(p []byte) (int, error)        { return e.Load(p) }

func (e *hashEditor) end() (dirty bool, packed []byte, large any) {
	dirty, packed, o := e.End()
	if o != nil {
		large = o
	}
	return dirty, packed, large
}

type setEditor struct{ *collections.SetEdit }

func (e *setEditor) begin(packed []byte, inPlace bool) { e.Begin(packed, inPlace) }
func (e *setEditor) beginLarge(o any)                  { e.BeginLarge(o.(*collections.BigSet)) }
func (e *setEditor) fork(o any) any                    { return o.(*collections.BigSet).Fork() }
func (e *setEditor) weight() weight                    { return weight{e.Bytes(), e.Len()} }
func (e *setEditor) load(p []byte) (int, error)        { return e.Load(p) }

func (e *setEditor) end() (dirty bool, packed []byte, large any) {
	dirty, packed, o := e.End()
	if o != nil {
		large = o
	}
	return dirty, packed, large
}

type zsetEditor struct{ *collections.ZSetEdit }

func (e *zsetEditor) begin(packed []byte, inPlace bool) { e.Begin(packed, inPlace) }
func (e *zsetEditor) beginLarge(o any)                  { e.BeginLarge(o.(*collections.BigZSet)) }
func (e *zsetEditor) fork(o any) any                    { return o.(*collections.BigZSet).Fork() }
func (e *zsetEditor) weight() weight                    { return weight{e.Bytes(), e.Len()} }
func (e *zsetEditor) load(p []byte) (int, error)        { return e.Load(p) }

func (e *zsetEditor) end() (dirty bool, packed []byte, large any) {
	dirty, packed, o := e.End()
	if o != nil {
		large = o
	}
	return dirty, packed, large
}
