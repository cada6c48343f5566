package link

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// ListenerConfig says how a Listener finds out who calls, and whom it tells.
type ListenerConfig struct {
	TLS *tls.Config // with the certificate of the controller

	// ClientCAs are the authorities of nodes' certificates, asked for each connection, so that they may change; nil:
	// nodes have none.
	ClientCAs func() (*x509.CertPool, error)

	// Identify returns which machine sends the request. It must not believe the request: claimed is what it says of
	// itself. The kind of its error is Unavailable where it cannot tell now.
	Identify func(ctx context.Context, r *http.Request, claimed string) (Proof, error)

	// Nodes returns the volume.NodeNames that the cluster has. It is asked every LookEvery (5 minutes where that is 0)
	// while nodes are connected, and the connections of others are ended; nil: what the cluster has is not known.
	Nodes     func(ctx context.Context) (map[string]bool, error)
	LookEvery time.Duration

	// Connect is told of a node that is connected, by its volume.NodeName. gone is called when it is not any
	// more. A node may connect while it is connected: the new connection counts, and gone of the one before
	// is called later, when the calls that are at work on it have ended. Connect must not wait.
	Connect func(node string, conn grpc.ClientConnInterface) (gone func())
}

// Proof is what a node has proved.
type Proof struct {
	Machine string    // its name
	Until   time.Time // when that holds no longer; zero: what proved it has no end
}

// Listener is the side of the controller.
type Listener struct {
	config ListenerConfig

	mu       sync.Mutex
	closed   bool
	refusals refusals
	nodes    map[string]*peer   // the connection that counts, of each node
	peers    map[*peer]struct{} // those too that have been replaced, until they end
	of       map[string]int     // how many peers each node has, with those that are about to be
	all      sync.WaitGroup
}

// NewListener returns a Listener of no nodes.
func NewListener(c ListenerConfig) *Listener {
	return &Listener{config: c, nodes: map[string]*peer{}, peers: map[*peer]struct{}{}, of: map[string]int{}}
}

// What somebody who has not said who he is can cost: some memory for each of a limited number of
// connections, for a few seconds.
const (
	helloTimeout    = 5 * time.Second // for the TLS handshake, and then for the request
	identifyTimeout = 10 * time.Second
	maxHelloBytes   = 16 << 10
	maxStrangers    = 1024
	maxPerAddress   = 64
)

// Serve takes connections until ctx ends, and then ends those it has. It closes tcp, and is called once.
func (l *Listener) Serve(ctx context.Context, tcp net.Listener) error {
	config := l.config.TLS.Clone()
	config.MinVersion, config.NextProtos = tls.VersionTLS13, []string{"http/1.1"}
	config.SessionTicketsDisabled = true // each connection proves all anew
	if l.config.ClientCAs != nil {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.GetConfigForClient = l.withClientCAs(config.Clone())
	}
	strangers := newStrangers()
	server := &http.Server{
		Handler:           http.HandlerFunc(l.hello),
		ReadHeaderTimeout: helloTimeout,
		ReadTimeout:       helloTimeout + identifyTimeout,
		MaxHeaderBytes:    maxHelloBytes,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2 here
		ErrorLog:          log.New(&httpLog{logger: klog.FromContext(ctx), refusals: &l.refusals}, "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         strangers.state,

		DisableGeneralOptionsHandler: true, // it would answer everybody
	}
	server.SetKeepAlivesEnabled(false) // one request each
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if l.config.Nodes != nil {
		looking, end := context.WithCancel(ctx)
		var looks sync.WaitGroup
		looks.Go(func() { l.look(looking) })
		defer looks.Wait()
		defer end()
	}
	err := server.Serve(tls.NewListener(&guarded{Listener: tcp, strangers: strangers}, config))
	_ = server.Close() // strangers
	l.mu.Lock()
	l.closed = true
	for p := range l.peers {
		go p.end()
	}
	l.mu.Unlock()
	l.all.Wait()
	if errors.Is(err, http.ErrServerClosed) && ctx.Err() != nil {
		return nil
	}
	return err
}

// withClientCAs returns a tls.Config.GetConfigForClient that gives config with what ClientCAs returns at that moment.
func (l *Listener) withClientCAs(config *tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(*tls.ClientHelloInfo) (*tls.Config, error) {
		authorities, err := l.config.ClientCAs()
		if err != nil {
			return nil, volume.Errorf(volume.Unavailable, "authorities of certificates: %w", err)
		}
		now := config.Clone()
		now.ClientCAs = authorities
		return now, nil
	}
}

// begin counts something that Serve waits for, unless that has ended.
func (l *Listener) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.all.Add(1)
	return true
}

// hello answers the one request that there is.
func (l *Listener) hello(w http.ResponseWriter, r *http.Request) {
	if !l.begin() {
		return
	}
	defer l.all.Done()
	if r.Method != http.MethodGet || r.URL.Path != path || !strings.EqualFold(r.Header.Get("Upgrade"), protocol) {
		http.NotFound(w, r)
		return
	}
	claimed := r.Header.Get(nodeHeader)
	logger := klog.FromContext(r.Context()).WithValues("claimed", volume.Printable(claimed, volume.MaxRequestNameBytes), "address", r.RemoteAddr)
	ctx, cancel := context.WithTimeout(r.Context(), identifyTimeout)
	defer cancel()
	proof, err := l.config.Identify(ctx, r, claimed)
	holds := longestProof
	if !proof.Until.IsZero() {
		holds = min(holds, time.Until(proof.Until))
	}
	switch {
	case err == nil && (proof.Machine != claimed || proof.Machine == ""):
		err = errors.New("it is another machine")
	case err == nil && holds <= 0:
		err = errors.New("what it shows has expired")
	}
	switch {
	case volume.Is(err, volume.Unavailable):
		l.refusals.log(logger, "cannot tell who a node is", err.Error())
		http.Error(w, "cannot be told now: try again", http.StatusServiceUnavailable)
		return
	case err != nil:
		l.refusals.log(logger, "refused a node", err.Error())
		http.Error(w, "refused: the log of the controller says why", http.StatusUnauthorized)
		return
	}
	node := volume.NodeName(proof.Machine)
	if !l.enter(node) {
		l.refusals.log(logger, "a node connects too often", "it has as many connections as it may have: it is let in when one of them has ended")
		http.Error(w, "too many connections: try again", http.StatusServiceUnavailable)
		return
	}
	raw, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		logger.Error(err, "connection cannot be taken over")
		l.leave(node)
		return
	}
	l.adopt(klog.NewContext(ctx, logger), node, holds, raw, buffered.Reader)
}

// look ends, from time to time, the connections of nodes that the cluster has no more, until ctx ends.
func (l *Listener) look(ctx context.Context) {
	ticks := time.NewTicker(cmp.Or(l.config.LookEvery, 5*time.Minute))
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		l.mu.Lock()
		connected := maps.Clone(l.peers) // those who connect while the cluster is asked may be newer than its answer
		l.mu.Unlock()
		if len(connected) == 0 {
			continue
		}
		has, err := l.config.Nodes(ctx)
		if err != nil {
			if ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "cannot tell which nodes the cluster has: all stay connected")
			}
			continue
		}
		for p := range connected {
			if !has[p.node] {
				klog.FromContext(ctx).Info("the cluster has no such node any more, its connection is ended", "node", p.node)
				go p.end()
			}
		}
	}
}
