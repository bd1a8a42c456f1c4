// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bufio"
	"flag"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var corpusFile = flag.String("corpus", "", "write random commands into this file, for comparisons on the wire (integration/testdata)")

// corpusCommands is how many are written of each family, corpusBytes bounds one.
const corpusCommands, corpusBytes = 300, 1500

// TestWriteCorpus writes one command a line, its words quoted, without those whose reply depends on chance, on cursors
// or on what is not Redis'.
func TestWriteCorpus(t *testing.T) {
	if *corpusFile == "" {
		t.Skip("no -corpus")
	}
	f, err := os.Create(*corpusFile)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(f)
	g := &source{dice: seeded(1, 2)}
	all := map[string]func(g *source) []string{"": (*source).command}
	maps.Copy(all, families)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for n := 0; n < corpusCommands; {
			words := g.spoiled(all[name](g))
			if !comparable(words) {
				continue
			}
			n++
			for i, w := range words {
				if i > 0 {
					_ = out.WriteByte(' ')
				}
				_, _ = out.WriteString(strconv.Quote(w))
			}
			_ = out.WriteByte('\n')
		}
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func comparable(words []string) bool {
	name, size := strings.ToUpper(words[0]), 0
	for _, w := range words {
		size += len(w)
		switch u := strings.ToUpper(w); {
		case strings.HasSuffix(u, "LEX"), strings.HasPrefix(u, "KV."), u == "FLAGS", u == "IFVERSION", u == "WITHVERSION", u == "DB":
			return false
		}
	}
	if has := func(word string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, word) })
	}; strings.HasPrefix(name, "SORT") {
		return size < corpusBytes && !has("BY") && (!has("ALPHA") || has("STORE")) // else Redis' order may be by chance
	}
	switch name {
	case "COPY", "RENAME", "RENAMENX", "APPEND", "SETRANGE", "SETBIT", "BITFIELD", "BITOP":
		name = "PFCOUNT" // never of a sketch: Redis notes there what it counted, and reads a damaged one as far as it must
	}
	if name == "PFCOUNT" && slices.ContainsFunc(words[1:], func(w string) bool { return slices.Contains(hllKeys, w) }) {
		return false
	}
	return size < corpusBytes && !drawing[name] && !strings.HasSuffix(name, "SCAN") && name != "OBJECT" && name != "MEMORY" && name != "DUMP" && name != "LCS"
}
