package driver

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// poolsTimeout is how long the pools get to answer a scrape: half of what Prometheus waits.
const poolsTimeout = 5 * time.Second

// poolMetrics asks the pools at each scrape, so that nothing has to be kept up to date. Pools that
// cannot be read cost their own lines and no other ones.
type poolMetrics struct {
	pools                                  func(context.Context) ([]volume.PoolStatus, error)
	size, free, largest, healthy, readable *prometheus.Desc
	fallbacks, held                        *prometheus.Desc

	mu   sync.Mutex
	said string // what the log says of pools that cannot be read
}

func newPoolMetrics(pools func(context.Context) ([]volume.PoolStatus, error)) *poolMetrics {
	of := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, []string{"pool"}, nil) }
	return &poolMetrics{
		pools:   pools,
		size:    of("loam_pool_size_bytes", "What the pool could hold were it empty of volumes."),
		free:    of("loam_pool_free_bytes", "What new volumes may still take."),
		largest: of("loam_pool_largest_volume_bytes", "The largest volume that could be made now."),
		healthy: of("loam_pool_healthy", "1 if the pool works as it should, else 0."),
		fallbacks: of("loam_pool_metadata_fallbacks_total",
			"How often LVM had to be asked, in a process, for what is read from the disks of the volume group otherwise."),
		held: of("loam_pool_held_seconds",
			"How long writers of volumes were held for a snapshot, a group of snapshots or a clone; in a volume group at most."),
		readable: prometheus.NewDesc("loam_pools_readable", "1 if all pools could be asked, else 0.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *poolMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.size, c.free, c.largest, c.healthy, c.readable, c.fallbacks, c.held} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *poolMetrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	pools, err := c.ask()
	c.log(err)
	gauge(c.readable, truth(err == nil))
	for _, p := range pools {
		gauge(c.healthy, truth(p.Healthy), p.Pool)
		if !p.Healthy && p.TotalBytes == 0 {
			continue // its sizes are not known, and 0 would say that they are
		}
		gauge(c.size, float64(p.TotalBytes), p.Pool)
		gauge(c.free, float64(p.FreeBytes), p.Pool)
		gauge(c.largest, float64(p.LargestBytes), p.Pool)
		out <- prometheus.MustNewConstMetric(c.fallbacks, prometheus.CounterValue, float64(p.Fallbacks), p.Pool)
		within := make(map[float64]uint64, len(volume.HeldBuckets))
		for i, most := range volume.HeldBuckets {
			within[most] = p.Held.Within[i]
		}
		out <- prometheus.MustNewConstHistogram(c.held, p.Held.Count, p.Held.Seconds, within, p.Pool)
	}
}

// log says which pools cannot be read, once for each reason and not at each scrape.
func (c *poolMetrics) log(err error) {
	says := ""
	if err != nil {
		says = err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if says != c.said && err != nil {
		klog.Background().Error(err, "pools cannot be read for the metrics")
	}
	c.said = says
}

// ask catches a panic too: Prometheus runs a collector in a goroutine of its own.
func (c *poolMetrics) ask() (pools []volume.PoolStatus, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), poolsTimeout)
	defer cancel()
	defer func() {
		if thrown := recover(); thrown != nil {
			pools, err = nil, fmt.Errorf("panic: %v\n%s", thrown, debug.Stack())
		}
	}()
	return c.pools(ctx)
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
