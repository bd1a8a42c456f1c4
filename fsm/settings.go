// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"

	"github.com/kvorum/kvorum/store"
)

// Policy says what happens at the memory limit.
type Policy = store.Policy

// ParsePolicy finds a policy by the name that Redis gives it.
func ParsePolicy(name string) (Policy, bool) { return store.ParsePolicy(name) }

// PolicyNames are the names that ParsePolicy knows.
func PolicyNames() []string {
	var names []string
	for p := store.NoEviction; p.Valid(); p++ {
		names = append(names, p.String())
	}
	return names
}

// settings are a data group's replicated settings, immutable.
type settings struct {
	maxMemory  int64 // logical bytes; 0 no limit
	policy     Policy
	defaultTTL int64 // milliseconds; 0 none
	limits     Limits
}

// maxTTL bounds the default TTL in milliseconds, so that adding it to a clock cannot overflow.
const maxTTL = math.MaxInt64 / 4

func defaultSettings() *settings {
	return &settings{policy: store.NoEviction, limits: hardLimits(DefaultMaxValue)}
}

// hardLimits are what Apply enforces: they depend on replicated state alone.
func hardLimits(maxValue int) Limits {
	return Limits{MaxKey: MaxKeyBytes, MaxValue: maxValue, MaxArgs: math.MaxInt32, MaxCommand: math.MaxInt}
}
