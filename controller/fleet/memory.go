package fleet

import (
	"os"
	"runtime/debug"
)

// collectAt is by how many percent the memory in use may grow before the garbage collector runs (GOGC, Go's "A Guide to the Go
// Garbage Collector").
const collectAt = 40

// CollectEarly has the garbage collector of this process run earlier than Go's 100 percent, unless the environment sets GOGC. Nearly all
// that a controller holds is of the nodes that are connected, and stays; with 5,000 of them it would have several hundred MiB more
// of the machine, for garbage, at 100 percent.
func CollectEarly() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
}
