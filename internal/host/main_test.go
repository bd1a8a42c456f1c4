// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"testing"

	"github.com/kvorum/kvorum/internal/host/racing"
)

func TestMain(m *testing.M) { racing.Main(m) }
