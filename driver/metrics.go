package driver

import (
	"context"
	"path"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/volume"
)

// metrics is what Prometheus reads of this server.
type metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
}

func newMetrics(version string, pools func(context.Context) ([]volume.PoolStatus, error), nodes func() int) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "loam_csi_calls_total", Help: "CSI calls answered, by method and gRPC code."}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "loam_csi_call_seconds", Help: "Time until a CSI call was answered.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}}, []string{"method"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "loam_csi_operations_in_flight", Help: "CSI calls at work, those included whose caller has left."}, []string{"method"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "loam_build_info", Help: "1, with what was built.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(m.calls, m.seconds, m.inFlight, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if nodes != nil {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "loam_connected_nodes", Help: "Nodes that are connected to this replica of the controller."},
			func() float64 { return float64(nodes()) }))
	}
	if pools != nil {
		m.registry.MustRegister(newPoolMetrics(pools))
	}
	return m
}

// count counts a call and its time, with the code that the caller gets.
func (m *metrics) count(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method, started := path.Base(info.FullMethod), time.Now()
	resp, err := handler(ctx, req)
	m.calls.WithLabelValues(method, status.Code(err).String()).Inc()
	m.seconds.WithLabelValues(method).Observe(time.Since(started).Seconds())
	return resp, err
}

// track counts a call while its handler runs.
func (m *metrics) track(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	running := m.inFlight.WithLabelValues(path.Base(info.FullMethod))
	running.Inc()
	defer running.Dec()
	return handler(ctx, req)
}
