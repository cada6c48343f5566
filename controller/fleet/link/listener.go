package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log"
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

	// Identify returns the name of the machine that sends the request. It must not believe the request:
	// claimed is what it says of itself. The kind of its error is Unavailable where it cannot tell now.
	Identify func(ctx context.Context, r *http.Request, claimed string) (machine string, err error)

	// Connect is told of a node that is connected, by its volume.NodeName. gone is called when it is not any
	// more. A node may connect while it is connected: the new connection counts, and gone of the one before
	// is called later, when the calls that are at work on it have ended. Connect must not wait.
	Connect func(node string, conn grpc.ClientConnInterface) (gone func())
}

// Listener is the side of the controller.
type Listener struct {
	config ListenerConfig

	mu     sync.Mutex
	closed bool
	nodes  map[string]*peer   // the connection that counts, of each node
	peers  map[*peer]struct{} // those too that have been replaced, until they end
	all    sync.WaitGroup
}

// NewListener returns a Listener of no nodes.
func NewListener(c ListenerConfig) *Listener {
	return &Listener{config: c, nodes: map[string]*peer{}, peers: map[*peer]struct{}{}}
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
		ErrorLog:          log.New(&httpLog{logger: klog.FromContext(ctx)}, "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         strangers.state,

		DisableGeneralOptionsHandler: true, // it would answer everybody
	}
	server.SetKeepAlivesEnabled(false) // one request each
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
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
	logger := klog.FromContext(r.Context()).WithValues("claimed", printable(claimed), "address", r.RemoteAddr)
	ctx, cancel := context.WithTimeout(r.Context(), identifyTimeout)
	defer cancel()
	machine, err := l.config.Identify(ctx, r, claimed)
	if err == nil && (machine != claimed || machine == "") {
		err = errors.New("it is another machine")
	}
	switch {
	case volume.Is(err, volume.Unavailable):
		logger.Info("cannot tell who a node is", "err", err.Error())
		http.Error(w, "cannot be told now: try again", http.StatusServiceUnavailable)
		return
	case err != nil:
		logger.Info("refused a node", "err", err.Error())
		http.Error(w, "refused: the log of the controller says why", http.StatusUnauthorized)
		return
	}
	raw, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		logger.Error(err, "connection cannot be taken over")
		return
	}
	l.adopt(klog.NewContext(ctx, logger), volume.NodeName(machine), raw, buffered.Reader)
}

// printable is what of a claimed name is fit for a log.
func printable(text string) string {
	if len(text) > volume.MaxRequestNameBytes {
		text = text[:volume.MaxRequestNameBytes]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
