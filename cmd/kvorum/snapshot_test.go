// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/httpd"
)

const saveClock = 1_700_000_000_000

// groupSnapshot is a group that owns all slots and holds some keys.
func groupSnapshot(t *testing.T, keys int) []byte {
	t.Helper()
	table := fsm.Data()
	m := fsm.NewMachine(table, fsm.NewKeyspace(table, fsm.KeyspaceConfig{}), fsm.Options{Cluster: "c0ffee", Group: 1})
	sub := new(fsm.Sub)
	add := func(op fsm.Op, args ...string) {
		c := fsm.Command{Op: op}
		for _, a := range args {
			c.Args = append(c.Args, []byte(a))
		}
		sub.Body, sub.Writes = fsm.AppendCommand(sub.Body, &c), sub.Writes+1
	}
	var all []uint16
	for s := range uint16(fsm.Slots) {
		all = append(all, s)
	}
	own := fsm.Own(3, all)
	add(own.Op, string(own.Args[0]), string(own.Args[1]))
	for i := range keys {
		if key := fmt.Sprint("key-", i); i%3 == 0 {
			add(fsm.OpPSetEx, key, fmt.Sprint(1000*i+1000), strings.Repeat("v", i))
		} else {
			add(fsm.OpRPush, key, "a", "b")
		}
	}
	m.Apply(7, 2, fsm.AppendSub(fsm.AppendEntryHeader(nil, &fsm.Header{Clock: saveClock}), sub), nil)
	v, err := m.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var buf bytes.Buffer
	if _, err := v.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// aSave is a small save, with a void part if asked.
func aSave(t *testing.T, void bool) []byte {
	t.Helper()
	var buf bytes.Buffer
	sw, err := fsm.NewSaveWriter(&buf, fsm.SaveHead{
		Cluster: "c0ffee", ClusterVersion: 1, Epoch: 3, Created: saveClock, Program: "1.2.3", Keys: 30, Groups: []uint32{1},
		Settings: []byte(`{"groups":1}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	cover := new(fsm.Cover)
	for s := range uint16(fsm.Slots) {
		cover.Add(s)
	}
	snapshot := groupSnapshot(t, 30)
	if void {
		if err := sw.Group(1, cover, bytes.NewReader(snapshot[:len(snapshot)-30])); err == nil {
			t.Fatal("half a snapshot was copied")
		}
	}
	if err := errors.Join(sw.Group(1, cover, bytes.NewReader(snapshot)), sw.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// left lists a folder.
func left(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestSnapshotSave: the file is there whole or not at all.
func TestSnapshotSave(t *testing.T) {
	m := newMember(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "a.kvsave")
	good := aSave(t, false)
	serve := func(data []byte, why string) {
		m.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", httpd.SaveErrorTrailer)
			_, _ = w.Write(data)
			if why != "" {
				w.Header().Set(httpd.SaveErrorTrailer, why)
			}
		}
	}
	for _, c := range []struct {
		name string
		data []byte
		why  string
		want string
	}{
		{"cut off", good[:len(good)-1], "", "broke the save off"},
		{"with a reason", good[:len(good)/2], "shard: save: group 3 went away", "kvorum: save: group 3 went away"},
		{"nothing", nil, "shard: closing", "closing"},
		{"damaged", append(bytes.Clone(good[:len(good)-90]), make([]byte, 90)...), "", "damaged"},
	} {
		serve(c.data, c.why)
		if got := m.run("snapshot", "save", file); got.code != exitFailed || !strings.Contains(got.err, c.want) || got.out != "" {
			t.Errorf("%s: %+v", c.name, got)
		}
		if names := left(t, dir); len(names) != 0 {
			t.Fatalf("%s left %v", c.name, names)
		}
	}
	m.answer = hangUp
	if got := m.run("snapshot", "save", file); got.code != exitFailed || len(left(t, dir)) != 0 {
		t.Errorf("hung up: %+v, left %v", got, left(t, dir))
	}
	m.answer = refuse(409, "shard: save: refused", "no")
	if got := m.run("snapshot", "save", file); got.code != exitFailed || !strings.Contains(got.err, "save: refused") || len(left(t, dir)) != 0 {
		t.Errorf("refused: %+v", got)
	}
	serve(good, "")
	if got := m.run("snapshot", "save", file); got.code != exitOK || !strings.Contains(got.out, "saved 30 keys of 1 groups") || got.err != "" {
		t.Fatalf("%+v", got)
	}
	if data, err := os.ReadFile(file); err != nil || !bytes.Equal(data, good) {
		t.Errorf("the file is not what came: %v", err)
	}
	if got := m.run("snapshot", "save", file); got.code != exitUsage || !strings.Contains(got.err, "--force") {
		t.Errorf("over a file: %+v", got)
	}
	serve(aSave(t, true), "")
	got := m.run("snapshot", "save", file, "--force", "-o", "json")
	var j struct {
		Keys    int64  `json:"keys"`
		Content string `json:"content"`
	}
	if err := json.Unmarshal([]byte(got.out), &j); got.code != exitOK || err != nil || j.Keys != 30 || len(j.Content) != 64 {
		t.Errorf("with a void part: %+v", got)
	}
	if data, err := os.ReadFile(file); err != nil || len(data) != len(good) {
		t.Errorf("a void part stayed in the file: %d bytes, %v", len(data), err)
	}
	if names := left(t, dir); len(names) != 1 {
		t.Errorf("left %v", names)
	}
}

// TestSnapshotSaveStopped: Ctrl-C in the middle leaves no file.
func TestSnapshotSaveStopped(t *testing.T) {
	m := newMember(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	m.answer = func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(aSave(t, false)[:100])
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
	}
	var out, errs bytes.Buffer
	args := []string{"snapshot", "save", filepath.Join(dir, "a.kvsave"), "--addr", m.addr}
	code := run(ctx, args, stdio{in: strings.NewReader(""), out: &out, err: &errs, getenv: func(string) string { return "" }})
	if code != exitFailed || !strings.Contains(errs.String(), "stopped before") || len(left(t, dir)) != 0 {
		t.Errorf("code %d, %q, left %v", code, errs.String(), left(t, dir))
	}
}

// TestSnapshotInspect: what is in a file, and files that are none.
func TestSnapshotInspect(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inspect := func(args ...string) outcome {
		return runLine(t, nil, strings.NewReader(""), append([]string{"snapshot", "inspect"}, args...)...)
	}
	data := aSave(t, false)
	good := write("good", data)
	got := inspect(good)
	if got.code != exitOK || got.err != "" {
		t.Fatalf("%+v", got)
	}
	// Sizes and digests belong to the formats, which have golden tests of their own.
	shown := regexp.MustCompile(`file of \S+ \S+ unpacked`).ReplaceAllString(got.out, "file of SIZE, SIZE unpacked")
	shown = regexp.MustCompile(`(?m)^(content|sha256) [0-9a-f]{64}$`).ReplaceAllString(shown, "$1 DIGEST")
	golden(t, "inspect.golden", shown)
	var d description
	if got = inspect(good, "-o", "json"); got.code != exitOK || json.Unmarshal([]byte(got.out), &d) != nil {
		t.Fatalf("%+v", got)
	}
	if d.Total.Keys != 30 || d.Total.Timed != 10 || len(d.Groups) != 1 || d.Groups[0].Index != 7 || d.Groups[0].Keys != 30 || len(d.Ranges) != 16 || string(d.Settings) == "" {
		t.Errorf("%+v", d)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		if i%37 > 0 { // each byte is covered in the tests of the format
			continue
		}
		if got := inspect(write("bad", bad)); got.code == exitOK || got.out != "" {
			t.Fatalf("byte %d: %+v", i, got)
		}
	}
	for _, c := range []struct {
		name string
		data []byte
		code int
		want string
	}{
		{"cut", data[:len(data)-1], exitDamaged, "damaged"},
		{"empty", nil, exitDamaged, "damaged"},
		{"snapshot", groupSnapshot(t, 3), exitFailed, "no save of a cluster"},
		{"newer", append([]byte("KVSTREAM\x02"), data[9:]...), exitFailed, "unknown version"},
	} {
		if got := inspect(write(c.name, c.data)); got.code != c.code || !strings.Contains(got.err, c.want) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	if got := inspect(filepath.Join(dir, "nowhere")); got.code != exitUsage {
		t.Errorf("no file: %+v", got)
	}
	if got := inspect(good, "-o", "xml"); got.code != exitUsage {
		t.Errorf("-o xml: %+v", got)
	}
}

// TestSnapshotRestore: a file is checked before it is sent, and what the node says is what is told.
func TestSnapshotRestore(t *testing.T) {
	m := newMember(t)
	data := aSave(t, false)
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good"), filepath.Join(dir, "bad")
	damaged := bytes.Clone(data)
	damaged[len(damaged)/2] ^= 4
	if err := errors.Join(os.WriteFile(good, data, 0o600), os.WriteFile(bad, damaged, 0o600)); err != nil {
		t.Fatal(err)
	}
	m.answer = func(http.ResponseWriter, *http.Request) { t.Error("a damaged file was sent") }
	if got := m.run("snapshot", "restore", bad); got.code != exitDamaged || !strings.Contains(got.err, "damaged") {
		t.Errorf("%+v", got)
	}
	lines := func(text string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	}
	for _, c := range []struct {
		name   string
		args   string
		answer func(http.ResponseWriter, *http.Request)
		code   int
		want   string
	}{
		{"done", "", lines(`{"phase":"import","keys":3}` + "\n" + `{"phase":"end"}` + "\n" + `{"done":true}` + "\n"), exitOK, "restored 30 keys of 1 groups"},
		{"settings", "--settings", lines(`{"done":true}`), exitOK, "restored"},
		{"not empty", "", refuse(409, "shard: restore: group 1: shard: the cluster is not empty", "no"), exitFailed, "kvorum: restore: group 1: the cluster is not empty"},
		{"failed", "", lines(`{"phase":"import"}` + "\n" + `{"error":"shard: given up","kind":"admin","applied":"no"}` + "\n"), exitFailed, "kvorum: given up"},
		{"unknown", "", lines(`{"error":"x","kind":"admin","applied":"unknown"}` + "\n"), exitUnknown, "it may have been applied"},
		{"cut off", "", lines(`{"phase":"import"}` + "\n"), exitUnknown, "broke the connection off"},
		{"hung up", "", hangUp, exitUnknown, ""},
		{"nonsense", "", lines("<html>\n"), exitUnknown, "unreadable"},
	} {
		m.answer = c.answer
		got := m.run(append([]string{"snapshot", "restore", good}, strings.Fields(c.args)...)...)
		if got.code != c.code || !strings.Contains(got.out+got.err, c.want) {
			t.Errorf("%s: %+v", c.name, got)
		}
		if c.code == exitOK && (m.body != string(data) || (m.last.URL.Query().Get("settings") == "1") != (c.args != "")) {
			t.Errorf("%s: %d bytes were sent, to %s", c.name, len(m.body), m.last.URL)
		}
	}
	m.answer = lines(`{"ok":true}`)
	if got := m.run("snapshot", "restore", "--cancel"); got.code != exitOK || m.last.Method != http.MethodDelete {
		t.Errorf("cancel: %+v", got)
	}
	for _, args := range [][]string{{}, {good, "--cancel"}} {
		if got := m.run(append([]string{"snapshot", "restore"}, args...)...); got.code != exitUsage {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// TestBar: what a bar looks like, and that it draws on terminals alone.
func TestBar(t *testing.T) {
	for _, c := range []struct {
		done float64
		took time.Duration
		want string
	}{
		{0, 0, "saving [------------------------------]   0%  3 keys"},
		{0.5, 10 * time.Second, "saving [###############---------------]  50%  3 keys  10s left"},
		{2, time.Minute, "saving [##############################] 100%  3 keys"},
		{-1, time.Minute, "saving [------------------------------]   0%  3 keys"},
	} {
		if got := barLine("saving", c.done, "3 keys", c.took); got != c.want {
			t.Errorf("%v: %q, want %q", c.done, got, c.want)
		}
	}
	var out bytes.Buffer
	b := newBar(&out, "saving")
	b.set(0.5, "x")
	b.end()
	if out.Len() > 0 {
		t.Errorf("drawn on no terminal: %q", out.String())
	}
	b.w = &out
	b.over = false
	b.set(0.5, "x")
	b.set(0.6, "at once again")
	b.end()
	b.set(0.7, "behind the end")
	if got := out.String(); strings.Count(got, "saving") != 1 || !strings.HasSuffix(got, "\r\033[K") {
		t.Errorf("%q", got)
	}
	r := &meteredReader{ctx: t.Context(), r: iotest.ErrReader(errors.New("x")), told: func(int64) {}}
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("an error was lost")
	}
}
