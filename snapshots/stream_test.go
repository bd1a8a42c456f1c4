// SPDX-License-Identifier: Apache-2.0

package snapshots

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
)

type part struct {
	kind uint8
	id   uint32
	data []byte
}

func stream(t testing.TB, h Header, parts []part) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := NewWriter(&buf, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if err := w.Section(p.kind, p.id, p.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func parse(r io.Reader) (h Header, parts []part, err error) {
	sr, err := NewReader(r)
	if err != nil {
		return Header{}, nil, err
	}
	for {
		s, err := sr.Next()
		if errors.Is(err, io.EOF) {
			return sr.Header(), parts, nil
		}
		if err != nil {
			return sr.Header(), parts, err
		}
		parts = append(parts, part{s.Kind, s.ID, bytes.Clone(s.Data)})
	}
}

func fullHeader() Header {
	return Header{ClusterVersion: 3, Cluster: "c0ffee", Group: 7, Epoch: 9, Index: 1 << 40, Term: 12}
}

// noise is bytes that do not compress.
func noise(n int, seed uint64) []byte {
	p := make([]byte, n)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	_, _ = rand.NewChaCha8(key).Read(p)
	return p
}

// Goal: what is written is read, at the sizes where blocks and sections meet. Method: round trips
// of compressible and incompressible sections around those sizes.
func TestStreamRoundTrip(t *testing.T) {
	var around []part
	for i, n := range []int{0, 1, BlockSize - sectionHead - 1, BlockSize - sectionHead, BlockSize - sectionHead + 1, BlockSize, 3*BlockSize + 17} {
		around = append(around, part{1, uint32(i), make([]byte, n)}, part{2, uint32(i), noise(n, uint64(i))})
	}
	for _, tc := range []struct {
		name  string
		h     Header
		parts []part
	}{
		{"empty", Header{}, nil},
		{"header only", fullHeader(), nil},
		{"one empty section", fullHeader(), []part{{255, 1<<32 - 1, nil}}},
		{"ends with its block", Header{Group: 1}, []part{{1, 1, noise(BlockSize-sectionHead, 5)}}},
		{"sizes", fullHeader(), around},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data := stream(t, tc.h, tc.parts)
			h, parts, err := parse(bytes.NewReader(data))
			if err != nil || h != tc.h || len(parts) != len(tc.parts) {
				t.Fatalf("parse: %v %+v, %d sections", err, h, len(parts))
			}
			for i, p := range parts {
				if p.kind != tc.parts[i].kind || p.id != tc.parts[i].id || !bytes.Equal(p.data, tc.parts[i].data) {
					t.Errorf("section %d differs", i)
				}
			}
			info, err := Inspect(iotestOneByte{bytes.NewReader(data)})
			if err != nil || info.Size != int64(len(data)) || info.Sections != uint64(len(tc.parts)) || info.Header != tc.h {
				t.Errorf("inspect: %v %+v", err, info)
			}
			if again := stream(t, tc.h, tc.parts); !bytes.Equal(again, data) {
				t.Error("two writes of the same differ")
			}
		})
	}
}

// iotestOneByte returns one byte a read.
type iotestOneByte struct{ r io.Reader }

func (r iotestOneByte) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), 1)]) }

// small is a stream of a packed block, stored of an incompressible one.
func small(t testing.TB) []byte {
	t.Helper()
	return stream(t, fullHeader(), []part{
		{1, 0, []byte("shell")}, {2, 12739, bytes.Repeat([]byte("kvorum "), 60)}, {2, 12740, nil}, {3, 1, noise(40, 1)},
	})
}

func stored(t testing.TB) []byte {
	t.Helper()
	return stream(t, fullHeader(), []part{{1, 0, noise(90, 2)}, {2, 5, noise(40, 1)}})
}

// Goal: no damage passes. Method: every single bit of a small stream is flipped, the stream is cut
// at every byte and continued behind its end; each must give ErrCorrupt or ErrVersion.
func TestStreamDamage(t *testing.T) {
	for _, good := range [][]byte{small(t), stored(t), stream(t, Header{}, nil)} {
		_, sound, err := parse(bytes.NewReader(good))
		if err != nil {
			t.Fatal(err)
		}
		refused := func(what string, i int, data []byte) {
			t.Helper()
			_, parts, err := parse(bytes.NewReader(data))
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("%s %d: %v", what, i, err)
			}
			if len(parts) > len(sound) || len(parts) > 0 && !reflect.DeepEqual(parts, sound[:len(parts)]) {
				t.Fatalf("%s %d: wrong sections before the error", what, i)
			}
		}
		for i := range len(good) * 8 {
			bad := bytes.Clone(good)
			bad[i/8] ^= 1 << (i % 8)
			refused("flip of bit", i, bad)
		}
		for n := range good {
			refused("cut at", n, good[:n])
		}
		refused("tail", 0, append(bytes.Clone(good), 0))
		refused("twice", 0, append(bytes.Clone(good), good...))
	}
}

// Goal: blocks that are each sound but lost, doubled or swapped are found by the footer. Method: a
// stream of three equal-sized stored blocks is cut apart and joined in other ways.
func TestStreamBlocksAreBound(t *testing.T) {
	data := stream(t, Header{}, []part{{1, 1, noise(3*BlockSize-sectionHead, 3)}})
	const frame = frameHead + BlockSize + crcSize
	head, tail := data[:frameHead+crcSize], data[frameHead+crcSize+3*frame:]
	block := func(i int) []byte { return data[len(head)+i*frame:][:frame] }
	join := func(order ...int) []byte {
		out := bytes.Clone(head)
		for _, i := range order {
			out = append(out, block(i)...)
		}
		return append(out, tail...)
	}
	if _, err := Inspect(bytes.NewReader(join(0, 1, 2))); err != nil {
		t.Fatal(err)
	}
	for _, order := range [][]int{{}, {0, 1}, {0, 2, 1}, {0, 1, 1, 2}, {0, 1, 2, 2}} {
		if _, err := Inspect(bytes.NewReader(join(order...))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("blocks %v: %v", order, err)
		}
	}
}

var errDisk = errors.New("disk")

// failing fails at byte n in either direction.
type failing struct{ n int }

func (f *failing) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

// Goal: an error of the medium is passed on as itself, never as damage, and sticks. Method: a
// writer and a reader that fail at every byte.
func TestStreamMediumErrors(t *testing.T) {
	good := small(t)
	for n := range good {
		w, err := NewWriter(&failing{n: n}, fullHeader())
		if err == nil {
			_ = w.Section(1, 0, []byte("shell"))
			_ = w.Section(2, 12739, bytes.Repeat([]byte("kvorum "), 60))
			_ = w.Section(2, 12740, nil)
			_ = w.Section(3, 1, noise(40, 1))
			err = w.Close()
			if again := w.Section(1, 1, nil); !errors.Is(again, errDisk) {
				t.Fatalf("after an error at %d: %v", n, again)
			}
		}
		if !errors.Is(err, errDisk) {
			t.Fatalf("write fails at %d: %v", n, err)
		}
		r := io.MultiReader(bytes.NewReader(good[:n]), errReader{})
		if _, err := Inspect(r); !errors.Is(err, errDisk) || errors.Is(err, ErrCorrupt) {
			t.Fatalf("read fails at %d: %v", n, err)
		}
	}
	w, _ := NewWriter(io.Discard, Header{})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(w.Close(), ErrFinished) || !errors.Is(w.Section(1, 1, nil), ErrFinished) {
		t.Error("a closed writer writes on")
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errDisk }

// blockFrame makes a block frame of its parts, sound or not.
func blockFrame(codec byte, raw int, content []byte) []byte {
	f := append(make([]byte, 0, frameHead+len(content)+crcSize), kindBlock, codec, 0, 0)
	f = binary.LittleEndian.AppendUint32(f, uint32(raw))
	f = binary.LittleEndian.AppendUint32(f, uint32(len(content)))
	f = appendCRC(f, f)
	f = append(f, content...)
	return appendCRC(f, content)
}

func sectionStart(n uint64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{1, 0, 0, 0, 0}, n)
}

// Goal: limits hold at the limit and one past it. Method: frames made by hand, with sound checksums.
func TestStreamLimits(t *testing.T) {
	head, err := (&Header{}).append(nil)
	if err != nil {
		t.Fatal(err)
	}
	try := func(frames ...[]byte) error {
		sr, err := NewReader(bytes.NewReader(append(bytes.Clone(head), bytes.Join(frames, nil)...)))
		if err != nil {
			return err
		}
		_, err = sr.Next()
		return err
	}
	fits := append(sectionStart(MaxBlock-sectionHead), make([]byte, MaxBlock-sectionHead)...)
	if err := try(blockFrame(codecStored, MaxBlock, fits)); err != nil {
		t.Errorf("block of MaxBlock: %v", err)
	}
	over := append(sectionStart(MaxBlock+1-sectionHead), make([]byte, MaxBlock+1-sectionHead)...)
	packed := blockFrame(codecZstd, MaxBlock+1, zstdOf(t, over))
	for _, tc := range []struct {
		name  string
		frame []byte
		want  error
	}{
		{"stored block over MaxBlock", blockFrame(codecStored, MaxBlock+1, over), ErrCorrupt},
		{"packed block over MaxBlock", packed, ErrCorrupt},
		{"packed block that lies small", blockFrame(codecZstd, MaxBlock, zstdOf(t, over)), ErrCorrupt},
		{"packed block that lies large", blockFrame(codecZstd, MaxBlock, zstdOf(t, over[:100])), ErrCorrupt},
		{"packed block larger than raw", blockFrame(codecZstd, 3, zstdOf(t, over[:3])), ErrCorrupt},
		{"empty block", blockFrame(codecStored, 0, nil), ErrCorrupt},
		{"unknown codec", blockFrame(2, 3, []byte("abc")), ErrVersion},
		{"section over MaxSection", blockFrame(codecStored, sectionHead, sectionStart(MaxSection+1)), ErrCorrupt},
		{"section of MaxSection cut off", blockFrame(codecStored, sectionHead, sectionStart(MaxSection)), ErrCorrupt},
	} {
		if err := try(tc.frame); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := NewWriter(io.Discard, Header{Cluster: string(make([]byte, MaxHeader-3))}); err != nil {
		t.Errorf("header of MaxHeader: %v", err)
	}
	for _, n := range []int{MaxHeader - 2, maxFieldBytes + 1} {
		if _, err := NewWriter(io.Discard, Header{Cluster: string(make([]byte, n))}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("header over MaxHeader: %v", err)
		}
	}
}

func zstdOf(t testing.TB, p []byte) []byte {
	t.Helper()
	w, err := NewWriter(io.Discard, Header{})
	if err != nil {
		t.Fatal(err)
	}
	return w.zstd.EncodeAll(p, nil)
}

// Goal: a claimed length allocates nothing by itself. Method: bytes allocated while a stream that
// claims a section of 16 GiB and holds none of it is refused.
func TestReaderAllocatesWhatItReads(t *testing.T) {
	head, _ := (&Header{}).append(nil)
	data := append(head, blockFrame(codecStored, sectionHead, sectionStart(MaxSection))...)
	if n := allocated(func() { _, _ = Inspect(bytes.NewReader(data)) }); n > MaxBlock {
		t.Errorf("%d bytes allocated for %d bytes of input", n, len(data))
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// Goal: files written by any released version stay readable. Method: a committed stream of version
// 1 is parsed and compared with what was written into it.
func TestGoldenStream(t *testing.T) {
	name := filepath.Join("testdata", "v1.stream")
	if *rewrite {
		if err := os.WriteFile(name, small(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	h, got, err := parse(bytes.NewReader(data))
	if err != nil || h != fullHeader() {
		t.Fatalf("%v %+v", err, h)
	}
	_, want, _ := parse(bytes.NewReader(small(t)))
	if !reflect.DeepEqual(got, want) {
		t.Error("sections differ")
	}
}

// FuzzReader: any bytes give an error or sections that survive being written and read again, and
// memory stays within what blocks justify.
func FuzzReader(f *testing.F) {
	good := small(f)
	f.Add(good)
	f.Add(good[:len(good)-footerSize])
	f.Add(stream(f, Header{}, nil))
	head, _ := (&Header{}).append(nil)
	f.Add(append(head, blockFrame(codecStored, sectionHead, sectionStart(MaxSection))...))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, parts, err := parse(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("error without a cause: %v", err)
			}
			return
		}
		h2, again, err := parse(bytes.NewReader(stream(t, h, parts)))
		if err != nil || h2 != h || !reflect.DeepEqual(again, parts) {
			t.Fatalf("written again it differs: %v", err)
		}
	})
}

// FuzzSections: any unpacked bytes in sound blocks of any size give an error or whole sections,
// and a reader holds no more than it unpacked and a block.
func FuzzSections(f *testing.F) {
	f.Add([]byte{}, 1)
	f.Add(append(sectionStart(3), 'a', 'b', 'c'), 5)
	f.Add(append(sectionStart(0), sectionStart(1<<63)...), 7)
	f.Add(sectionStart(MaxSection), 13)
	f.Fuzz(func(t *testing.T, raw []byte, size int) {
		if size <= 0 || size > MaxBlock || len(raw) > 4*BlockSize {
			return
		}
		data, _ := (&Header{}).append(nil)
		for rest := raw; len(rest) > 0; {
			n := min(size, len(rest))
			data = append(data, blockFrame(codecStored, n, rest[:n])...)
			rest = rest[n:]
		}
		var parts []part
		sr, err := NewReader(bytes.NewReader(data))
		for err == nil {
			var s Section
			if s, err = sr.Next(); err == nil {
				parts = append(parts, part{s.Kind, s.ID, bytes.Clone(s.Data)})
			}
			if cap(sr.data) > 2*len(raw)+64 {
				t.Fatalf("%d bytes held for %d", cap(sr.data), len(raw))
			}
		}
		// The stream has no footer: it must be refused, whatever it held.
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("without a footer: %v", err)
		}
		var whole []byte
		for _, p := range parts {
			whole = append(whole, p.kind)
			whole = binary.LittleEndian.AppendUint32(whole, p.id)
			whole = binary.LittleEndian.AppendUint64(whole, uint64(len(p.data)))
			whole = append(whole, p.data...)
		}
		if !bytes.HasPrefix(raw, whole) {
			t.Fatal("sections are not the bytes given")
		}
	})
}

// Goal: blocks that do not compress are soon not tried any more, and those that do are packed as soon as
// they come again. Method: the sizes of streams of one, the other, and both by turns.
func TestPackingGivesUpForAWhile(t *testing.T) {
	const blocks = 200
	size := func(content []byte) float64 {
		return float64(len(stream(t, Header{}, []part{{1, 1, content}}))) / float64(len(content))
	}
	plain, text := noise(blocks*BlockSize, 1), bytes.Repeat([]byte("compressible "), blocks*BlockSize/13)
	if f := size(plain); f > 1.001 {
		t.Errorf("noise becomes %.3f times as long", f)
	}
	if f := size(text); f > 0.01 {
		t.Errorf("text becomes %.3f times as long", f)
	}
	if f := size(append(bytes.Clone(plain), text...)); f > 0.5+float64(maxSkip)/blocks/2+0.01 {
		t.Errorf("noise before text becomes %.3f times as long", f)
	}
	var buf bytes.Buffer
	w, err := NewWriter(&buf, Header{})
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for at := 0; at < len(plain); at += BlockSize {
		w.fill(plain[at : at+BlockSize])
		if w.skip == w.skipNext {
			tried++
		}
	}
	if tried < 2 || tried > 4+blocks/maxSkip {
		t.Errorf("%d of %d blocks were tried", tried, blocks)
	}
}

// Goal: Skim and a verified reader find the same damage as a whole read, but for what only the digest tells.
// Method: each byte of a small stream changed in turn.
func TestSkimAndVerifiedReaders(t *testing.T) {
	data := stream(t, fullHeader(), []part{{1, 0, []byte("shell")}, {9, 4, noise(300, 2)}, {9, 5, make([]byte, 3000)}})
	skim := func(p []byte, open func(io.Reader) (*Reader, error)) (kept int, err error) {
		r, err := open(bytes.NewReader(p))
		if err != nil {
			return 0, err
		}
		for {
			s, err := r.Skim(func(kind uint8) bool { return kind == 1 })
			if err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				return kept, err
			}
			if (s.Kind == 1) != (s.Data != nil) {
				t.Fatalf("kind %d has %d bytes", s.Kind, len(s.Data))
			}
			kept += len(s.Data)
		}
	}
	for _, open := range []func(io.Reader) (*Reader, error){NewReader, NewVerifiedReader} {
		if kept, err := skim(data, open); kept != len("shell") || err != nil {
			t.Fatalf("%d bytes, %v", kept, err)
		}
		for i := range data {
			bad := bytes.Clone(data)
			bad[i] ^= 1
			if _, err := skim(bad, open); err == nil {
				t.Errorf("byte %d changed and nobody noticed", i)
			}
		}
	}
	forged := stream(t, fullHeader(), []part{{1, 0, []byte("shell")}, {9, 4, noise(300, 3)}, {9, 5, make([]byte, 3000)}})
	copy(forged[len(forged)-footerSize:], data[len(data)-footerSize:])
	if _, err := skim(forged, NewReader); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another stream's footer: %v", err)
	}
}
