package volume

// PoolStatus is what a pool says of itself. Sizes are in bytes.
type PoolStatus struct {
	Pool         string // the pool's name
	TotalBytes   Size   // what the pool could hold were it empty of volumes
	FreeBytes    Size   // what new volumes may still take, reserve and promises already made kept back
	LargestBytes Size   // the largest volume that could be made now
	LeastBytes   Size   // the smallest volume that can be made
	BlockBytes   Size   // logical block size of a new volume that is no copy; 0 where the pool does not say
	Fallbacks    int64  // how often LVM had to be asked, since the pool was opened, for what is read from the disks otherwise
	Healthy      bool
	Message      string // why it is not healthy, or what is worth knowing
}
