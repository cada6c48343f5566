package volume

import "time"

// PoolStatus is what a pool says of itself. Sizes are in bytes.
type PoolStatus struct {
	Pool         string // the pool's name
	TotalBytes   Size   // what the pool could hold were it empty of volumes
	FreeBytes    Size   // what new volumes may still take, reserve and promises already made kept back
	LargestBytes Size   // the largest volume that could be made now
	LeastBytes   Size   // the smallest volume that can be made
	BlockBytes   Size   // logical block size of a new volume that is no copy; 0 where the pool does not say
	Fallbacks    int64  // how often LVM had to be asked, since the pool was opened, for what is read from the disks otherwise
	Held         Held   // how long writers had to wait for snapshots and clones, since the pool was opened
	Healthy      bool
	Message      string // why it is not healthy, or what is worth knowing
}

// HeldBuckets are upper bounds of how long writers were held, in seconds.
var HeldBuckets = [...]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// Held is a histogram of how long writers were held, once for each snapshot, group of snapshots or clone.
type Held struct {
	Count   uint64                   // how often
	Seconds float64                  // in all
	Within  [len(HeldBuckets)]uint64 // how often it was not more than each of HeldBuckets
}

// Add adds one time to the histogram.
func (h *Held) Add(took time.Duration) {
	h.Count++
	h.Seconds += took.Seconds()
	for i, most := range HeldBuckets {
		if took.Seconds() <= most {
			h.Within[i]++
		}
	}
}
