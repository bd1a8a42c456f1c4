// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/fsm"
)

func written(res fsm.Result) string {
	var out bytes.Buffer
	j := jsonWriter{w: &out}
	j.result(&res)
	if err := j.flush(); err != nil {
		panic(err)
	}
	return out.String()
}

// TestJSONText: bytes of any length, cut anywhere, come out as encoding/json writes them whole.
func TestJSONText(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	runes := []rune("a\"\\<&\n\x00é世🦫\u2028")
	for _, n := range []int{0, 1, 2, jsonPiece - 1, jsonPiece, jsonPiece + 1, 3*jsonPiece + 7, jsonGather + 5} {
		var text strings.Builder
		for text.Len() < n {
			text.WriteRune(runes[rng.IntN(len(runes))])
		}
		want, err := json.Marshal(text.String())
		if err != nil {
			t.Fatal(err)
		}
		if got := written(fsm.Bulk([]byte(text.String()))); got != string(want) {
			t.Errorf("text of %d bytes differs", text.Len())
		}
		raw := append(bytes.Repeat([]byte{0xff, 1, 0x80}, n/3+1), 'x')
		var back bytesJSON
		if err := json.Unmarshal([]byte(written(fsm.Bulk(raw))), &back); err != nil || !bytes.Equal(back.Base64, raw) {
			t.Errorf("%d bytes in base64: %v", len(raw), err)
		}
	}
}

// TestJSONShapes: each kind of result has its form.
func TestJSONShapes(t *testing.T) {
	bulk := func(s string) fsm.Result { return fsm.Bulk([]byte(s)) }
	for _, c := range []struct {
		res  fsm.Result
		want string
	}{
		{fsm.Result{}, `null`},
		{fsm.Null(), `null`},
		{fsm.Int(-3), `-3`},
		{fsm.Result{Kind: fsm.KindBool, Int: 1}, `true`},
		{fsm.Result{Kind: fsm.KindDouble, Dbl: 1.5}, `1.5`},
		{fsm.Result{Kind: fsm.KindDouble, Dbl: math.Inf(1)}, `"+Inf"`},
		{fsm.Result{Kind: fsm.KindVerbatim, Str: []byte("txt:hi")}, `"hi"`},
		{fsm.Array([]fsm.Result{}), `[]`},
		{fsm.Array([]fsm.Result{fsm.Int(1), fsm.Array([]fsm.Result{bulk("a"), fsm.Null()})}), `[1,["a",null]]`},
		{fsm.Map([]fsm.Result{}), `{}`},
		{fsm.Map([]fsm.Result{bulk("b"), bulk("1"), bulk("a"), fsm.Int(2)}), `{"b":"1","a":2}`},
		{fsm.Map([]fsm.Result{bulk("b"), bulk("1"), bulk("\xff"), bulk("2")}), `[["b","1"],[{"base64":"/w=="},"2"]]`},
		{fsm.Error(fsm.CodeWrongType, "WRONGTYPE x"), `{"error":"WRONGTYPE x","kind":"wrong-type"}`},
	} {
		if got := written(c.res); got != c.want {
			t.Errorf("%+v: %s, want %s", c.res, got, c.want)
		}
	}
}

// TestJSONTakesNoMemory: a large result is not held again as JSON.
func TestJSONTakesNoMemory(t *testing.T) {
	res := fsm.Array([]fsm.Result{fsm.Bulk(bytes.Repeat([]byte{1}, 4<<20)), fsm.Bulk(bytes.Repeat([]byte{0xff}, 4<<20))})
	peak := uint64(0)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	j := jsonWriter{w: writerFunc(func(p []byte) (int, error) {
		runtime.GC()
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
		return len(p), nil
	})}
	j.result(&res)
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
	if peak > before+2<<20 {
		t.Errorf("%d KiB were held to write 8 MiB", (peak-before)>>10)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

var _ io.Writer = writerFunc(nil)

// TestPipelineKeepsOrder: replies of commands that there are and of those that there are none of come in
// the order of the request, whatever the router hands over at one time.
func TestPipelineKeepsOrder(t *testing.T) {
	f := newFixture(t)
	var body, want []string
	for i := range 600 {
		switch i % 3 {
		case 0:
			body, want = append(body, fmt.Sprintf(`["SET","k%d","%d"]`, i, i)), append(want, `"OK"`)
		case 1:
			body, want = append(body, fmt.Sprintf(`["GET","k%d"]`, i-1)), append(want, fmt.Sprintf(`"%d"`, i-1))
		default:
			body, want = append(body, `[]`), append(want, `{"error":"ERR empty command","kind":"arity"}`)
		}
	}
	_, got, _ := f.do("POST", "/v1/pipeline", "["+strings.Join(body, ",")+"]")
	if got != "["+strings.Join(want, ",")+"]\n" {
		t.Errorf("got %.200s", got)
	}
	if _, got, _ := f.do("POST", "/v1/pipeline", "[]"); got != "[]\n" {
		t.Errorf("empty: %q", got)
	}
	if want := base64.StdEncoding.EncodedLen(jsonPiece); want != base64Room {
		t.Errorf("room for %d bytes of base64, want %d", base64Room, want)
	}
}
