package driver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/klog/v2"
)

const (
	// readyTimeout is how long Ready gets to answer /readyz.
	readyTimeout = 5 * time.Second

	// scrapeTimeout and maxScrapes keep pools that hang from piling up scrapes.
	scrapeTimeout = 15 * time.Second
	maxScrapes    = 4
)

// serveHTTP begins to serve /metrics, /healthz and /readyz, and returns nil where they are off. That they
// cannot be served is no reason to stop serving volumes.
func (s *Server) serveHTTP(logger klog.Logger) *http.Server {
	if s.http == nil {
		return nil
	}
	web := &http.Server{
		Handler:           s.httpHandler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * scrapeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	logger.Info("serving metrics", "address", s.http.Addr().String())
	go func() {
		if err := web.Serve(s.http); !errors.Is(err, http.ErrServerClosed) {
			logger.Error(err, "metrics are no longer served", "address", s.http.Addr().String())
		}
	}()
	return web
}

func (s *Server) httpHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	return mux
}

// readyz answers 200 where Ready and Registered have no error, with a line for each thing that is not available all the
// same, else 503 and the error. It is not for
// deciding whether this process should be started again, which mends no disk; /healthz is, and says only
// that there is somebody to answer.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	var err error
	if s.config.Ready != nil {
		err = s.config.Ready(ctx)
	}
	if err == nil && s.config.Registered != nil {
		err = s.config.Registered()
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, oneLine(err.Error(), maxMessageBytes))
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
	if s.config.Beside != nil {
		for _, err := range s.config.Beside() {
			_, _ = fmt.Fprintln(w, oneLine(err.Error(), maxMessageBytes))
		}
	}
}
