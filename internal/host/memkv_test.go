// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"errors"
	"maps"
	"strings"
	"syscall"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
	"pgregory.net/rapid"
)

// TestMemKVCrash compares a key-value file with a map over random updates, failures and crashes:
// an acknowledged update survives, a failed one is there wholly or not at all.
func TestMemKVCrash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := host.NewMemFS(rapid.Uint64().Draw(t, "seed"))
		open := func() host.KV {
			kv, err := disk.FS().OpenKV("/kv")
			if err != nil {
				t.Fatal(err)
			}
			return kv
		}
		kv, model := open(), map[string]string{}
		var doubt map[string]string // what a failed update would have made of the model
		contents := func() map[string]string {
			m := map[string]string{}
			if err := kv.All(func(k string, v []byte) error { m[k] = string(v); return nil }); err != nil {
				t.Fatal(err)
			}
			return m
		}
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				next, set := maps.Clone(model), map[string][]byte{}
				for range rapid.IntRange(1, 4).Draw(t, "n") {
					k := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
					if rapid.Bool().Draw(t, "delete") {
						set[k] = nil
						delete(next, k)
						continue
					}
					v := strings.Repeat("v", rapid.IntRange(0, 20_000).Draw(t, "len"))
					set[k], next[k] = []byte(v), v
				}
				fail := rapid.IntRange(0, 9).Draw(t, "fail") == 0
				if fail {
					disk.FailNextSync(syscall.EIO)
				}
				err := kv.Update(set)
				if err == nil {
					model = next
					return
				}
				if !fail && doubt == nil {
					t.Fatalf("update: %v", err)
				}
				if doubt == nil {
					doubt = next
				}
			},
			"crash": func(t *rapid.T) {
				disk.Crash(host.CrashPolicy{Survive: rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "survive")})
				kv = open()
				got := contents()
				if !maps.Equal(got, model) && (doubt == nil || !maps.Equal(got, doubt)) {
					t.Fatalf("after the crash: %d pairs, want %d", len(got), len(model))
				}
				model, doubt = got, nil
			},
			"": func(t *rapid.T) {
				if doubt == nil && !maps.Equal(contents(), model) {
					t.Fatal("contents differ from the model")
				}
			},
		})
	})
}

func TestMemKVFullDisk(t *testing.T) {
	disk := host.NewMemFS(1)
	kv, err := disk.FS().OpenKV("/kv")
	must(t, err)
	must(t, kv.Update(map[string][]byte{"a": []byte("1")}))
	disk.SetQuota(disk.Used())
	if err := kv.Update(map[string][]byte{"b": make([]byte, 10_000)}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("update on a full disk: %v", err)
	}
	disk.SetQuota(0)
	must(t, kv.Update(map[string][]byte{"c": []byte("3")}))
	disk.Crash(host.CrashPolicy{})
	kv, err = disk.FS().OpenKV("/kv")
	must(t, err)
	var all string
	must(t, kv.All(func(k string, v []byte) error { all += k + string(v); return nil }))
	if all != "a1c3" {
		t.Errorf("pairs %q", all)
	}
}
