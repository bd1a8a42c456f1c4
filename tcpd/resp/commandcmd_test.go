// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"strings"
	"testing"
)

// TestQuestionsAboutCommandsAreBounded: names that are asked for again cost nothing again, and there are only so many.
func TestQuestionsAboutCommandsAreBounded(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	once := p.text("COMMAND DOCS client")
	if again := p.text("COMMAND DOCS" + strings.Repeat(" client", maxNames)); again != once {
		t.Errorf("%d bytes, once %d", len(again), len(once))
	}
	p.do("COMMAND DOCS"+strings.Repeat(" client", maxNames+1), "-ERR too many arguments\r\n")
	p.do("COMMAND INFO"+strings.Repeat(" get", maxNames+1), "-ERR too many arguments\r\n")
	p.do("COMMAND GETKEYSANDFLAGS MGET"+strings.Repeat(" k", maxNames), "-ERR too many arguments\r\n")
}
