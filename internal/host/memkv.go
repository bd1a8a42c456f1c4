// SPDX-License-Identifier: Apache-2.0

package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
)

// The key-value file of the in-memory form is a log of transactions over its own MemFS, so that it
// meets the same crashes as every other file. Each transaction is one record:
//
//	length uint32 | crc32c of the payload uint32 | payload = { klen uvarint, key, vlen+1 uvarint (0 = delete), value }*
//
// A torn last record was never acknowledged and is cut off by open.
const (
	kvHeader = 8
	// kvCompactFrom is the file size in bytes below which dead records are left alone.
	kvCompactFrom = 64 << 10
)

// Errors of KV, the same in both forms.
var (
	// ErrKVKey refuses the empty key.
	ErrKVKey = errors.New("host: empty key")
	// ErrKVBroken follows a write whose outcome on disk is not known.
	ErrKVBroken = errors.New("host: key-value file failed before")
)

type memKV struct {
	fs   *memView
	name string

	// turn holds one token: its owner may write. A channel, because syncs take virtual time.
	turn chan struct{}
	f    File  // owned by the holder of turn
	at   int64 // where the next record goes; owned by the holder of turn

	mu     sync.RWMutex // guards what follows; never held across I/O
	live   int64        // bytes a fresh file would need
	pairs  map[string][]byte
	broken error // set for ever by a write with unknown outcome
	closed bool
}

// OpenKV makes the name of a new file durable before it returns.
func (v *memView) OpenKV(name string) (KV, error) {
	key := path.Clean("/" + name)
	if err := v.enter("open", name); err != nil {
		return nil, err
	}
	if v.m.kvs[key] {
		v.m.mu.Unlock()
		return nil, fmt.Errorf("host: open %s: %w", name, ErrLocked)
	}
	v.m.kvs[key] = true
	v.m.mu.Unlock()
	kv, err := v.loadKV(name)
	if err != nil {
		v.releaseKV(key)
		return nil, fmt.Errorf("host: open %s: %w", name, err)
	}
	return kv, nil
}

func (v *memView) releaseKV(key string) {
	if v.enter("close", key) == nil {
		delete(v.m.kvs, key)
		v.m.mu.Unlock()
	}
}

func (v *memView) loadKV(name string) (*memKV, error) {
	f, err := v.OpenFile(name, os.O_RDWR|os.O_CREATE, kvFileMode)
	if err != nil {
		return nil, err
	}
	kv := &memKV{fs: v, name: name, f: f, turn: make(chan struct{}, 1), pairs: make(map[string][]byte)}
	data, err := io.ReadAll(f)
	if err == nil {
		kv.replay(data)
		err = f.Truncate(kv.at)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = v.SyncDir(path.Dir(name))
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return kv, nil
}

// replay applies whole records from the start and leaves kv.at behind the last good one.
func (kv *memKV) replay(data []byte) {
	for {
		rest := data[kv.at:]
		if len(rest) < kvHeader {
			return
		}
		n := int64(binary.LittleEndian.Uint32(rest))
		if n == 0 || n > int64(len(rest)-kvHeader) {
			return
		}
		payload := rest[kvHeader : kvHeader+n]
		if crc32.Checksum(payload, castagnoli()) != binary.LittleEndian.Uint32(rest[4:]) {
			return
		}
		kv.apply(payload)
		kv.at += kvHeader + n
	}
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// apply plays a checksummed payload into the map; each value is a copy.
func (kv *memKV) apply(payload []byte) {
	for len(payload) > 0 {
		var key []byte
		key, payload = takeBytes(payload, 0)
		if vlen, n := binary.Uvarint(payload); vlen == 0 {
			payload = payload[n:]
			kv.drop(string(key))
			continue
		}
		var value []byte
		value, payload = takeBytes(payload, 1)
		kv.drop(string(key))
		kv.pairs[string(key)] = append([]byte{}, value...)
		kv.live += kvSize(key, value)
	}
}

func (kv *memKV) drop(key string) {
	if old, ok := kv.pairs[key]; ok {
		kv.live -= kvSize([]byte(key), old)
		delete(kv.pairs, key)
	}
}

func kvSize(key, value []byte) int64 { return int64(len(key) + len(value) + kvHeader) }

func takeBytes(src []byte, bias uint64) (field, rest []byte) {
	size, n := binary.Uvarint(src)
	size -= bias
	return src[n : n+int(size)], src[n+int(size):]
}

func appendPair(dst []byte, key string, value []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	if value == nil {
		return binary.AppendUvarint(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(value))+1)
	return append(dst, value...)
}

func kvRecord(set map[string][]byte) []byte {
	rec := make([]byte, kvHeader)
	for _, key := range slices.Sorted(maps.Keys(set)) {
		rec = appendPair(rec, key, set[key])
	}
	binary.LittleEndian.PutUint32(rec, uint32(len(rec)-kvHeader))
	binary.LittleEndian.PutUint32(rec[4:], crc32.Checksum(rec[kvHeader:], castagnoli()))
	return rec
}

func (kv *memKV) Get(key string) ([]byte, error) {
	kv.mu.RLock()
	defer kv.mu.RUnlock()
	if err := kv.usable(); err != nil {
		return nil, err
	}
	v, ok := kv.pairs[key]
	if !ok {
		return nil, nil
	}
	return append([]byte{}, v...), nil
}

func (kv *memKV) All(f func(key string, value []byte) error) error {
	kv.mu.RLock()
	defer kv.mu.RUnlock()
	if err := kv.usable(); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(kv.pairs)) {
		if err := f(key, kv.pairs[key]); err != nil {
			return err
		}
	}
	return nil
}

// usable needs kv.mu.
func (kv *memKV) usable() error {
	switch {
	case kv.closed:
		return pathError("kv", kv.name, os.ErrClosed)
	case kv.broken != nil:
		return fmt.Errorf("%w: %w", ErrKVBroken, kv.broken)
	}
	return nil
}

// breakFor gives the file up for ever and returns the cause.
func (kv *memKV) breakFor(cause error) error {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.broken = cause
	return cause
}

func (kv *memKV) Update(set map[string][]byte) error {
	if _, ok := set[""]; ok {
		return ErrKVKey
	}
	if len(set) == 0 {
		return nil
	}
	kv.turn <- struct{}{}
	defer func() { <-kv.turn }()
	kv.mu.RLock()
	err := kv.usable()
	kv.mu.RUnlock()
	if err != nil {
		return err
	}
	rec := kvRecord(set)
	if _, err := kv.f.WriteAt(rec, kv.at); err != nil {
		// A part may stand behind the last record: cut it off, or give the file up.
		if terr := kv.f.Truncate(kv.at); terr != nil {
			return kv.breakFor(terr)
		}
		return err
	}
	if err := kv.f.Sync(); err != nil {
		return kv.breakFor(err)
	}
	kv.at += int64(len(rec))
	kv.mu.Lock()
	kv.apply(rec[kvHeader:])
	live := kv.live
	kv.mu.Unlock()
	if kv.at > kvCompactFrom && kv.at > 2*live {
		return kv.compact()
	}
	return nil
}

// compact rewrites the file beside itself and renames it. Failing before the rename leaves the old
// file in force: the update that led here is durable in it.
func (kv *memKV) compact() error {
	kv.mu.RLock()
	rec := kvRecord(kv.pairs)
	kv.mu.RUnlock()
	tmp := kv.name + ".tmp"
	f, err := kv.fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, kvFileMode)
	if err != nil {
		return nil
	}
	if _, err = f.WriteAt(rec, 0); err == nil {
		err = f.Sync()
	}
	if err != nil {
		_ = f.Close()
		_ = kv.fs.Remove(tmp)
		return nil
	}
	err = kv.fs.Rename(tmp, kv.name)
	if err == nil {
		err = kv.fs.SyncDir(path.Dir(kv.name))
	}
	if err != nil {
		_ = f.Close()
		return kv.breakFor(err)
	}
	_ = kv.f.Close()
	kv.f, kv.at = f, int64(len(rec))
	return nil
}

func (kv *memKV) Close() error {
	kv.turn <- struct{}{}
	defer func() { <-kv.turn }()
	kv.mu.Lock()
	was := kv.closed
	kv.closed = true
	kv.mu.Unlock()
	if was {
		return nil
	}
	err := kv.f.Close()
	kv.fs.releaseKV(path.Clean("/" + kv.name))
	return err
}
