package crash_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// counts is what a run did.
type counts struct {
	operations map[string]int // by kind
	kills      int            // while calls were made
	cutOff     int            // of them in the middle of a call
	groups     int            // of them with all that the driver ran
	atStart    int            // kills while the driver started
	retries    int
	lost       int
	leaked     int
}

func (c *counts) kill(cutOff, group bool) {
	c.kills++
	if cutOff {
		c.cutOff++
	}
	if group {
		c.groups++
	}
}

func (c *counts) print(t *testing.T) {
	t.Helper()
	total := 0
	var each []string
	for _, kind := range slices.Sorted(maps.Keys(c.operations)) {
		total += c.operations[kind]
		each = append(each, fmt.Sprintf("%s %d", kind, c.operations[kind]))
	}
	t.Logf("count: crash: %d operations: %s", total, strings.Join(each, ", "))
	t.Logf("count: crash: %d kills, %d in the middle of a call, %d with all that the driver ran, %d more while it started",
		c.kills, c.cutOff, c.groups, c.atStart)
	t.Logf("count: crash: %d calls sent again, lost %d, leaked %d", c.retries, c.lost, c.leaked)
}
